import t from 'tap';
import type { ActorRef, ChildSpec, Reply } from '../../src/actor-system.js';
import { type ActorKit, actorKit, type KitBase } from '../kit/actor-kit.js';

type VppMessage = { type: 'Transact'; ops: readonly string[]; reply: Reply<number> } | { type: 'Forget' };
type LinkMessage = { type: 'Up' };
type PodMessage =
  | { type: 'Add'; pod: string }
  | { type: 'Retry'; pod: string }
  | { type: 'Fail' }
  | { type: 'Quit' };

/** A small actor of the usual kind: programs pods into VPP, and tries again later when that fails. */
function pods(vpp: ActorRef<VppMessage>, link: ChildSpec<LinkMessage>): ChildSpec<PodMessage> {
  return {
    name: 'pods',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 10,
    handler_ms_max: 5000,
    async start(ctx) {
      const child = await ctx.spawn(link);
      let programmed = 0;
      const add = async (pod: string): Promise<void> => {
        try {
          const question = (reply: Reply<number>): VppMessage => ({ type: 'Transact', ops: [pod], reply });
          programmed += await ctx.ask(vpp, question, 1000);
          child.tell({ type: 'Up' });
        } catch (error) {
          ctx.log.warn({ pod, err: error }, 'pod(add) failed, will be tried again');
          ctx.after(2000, { type: 'Retry', pod });
        }
      };
      return {
        receive(message) {
          if (message.type === 'Quit') return ctx.exit();
          if (message.type === 'Fail') throw new Error('broken');
          return add(message.pod);
        },
        gauges: () => ({ programmed }),
      };
    },
  };
}

function make(t: Parameters<typeof actorKit>[0]): Promise<ActorKit<PodMessage>> {
  return actorKit<PodMessage>(t, (kit: KitBase) =>
    pods(kit.mailbox<VppMessage>('vpp').ref, kit.stub<LinkMessage>('link').spec),
  );
}

t.test('an actor between mailboxes: what it sends is looked at, answered, refused', async (t) => {
  const kit = await make(t);
  const vpp = kit.mailbox<VppMessage>('vpp');
  await kit.tell({ type: 'Add', pod: 'a' });
  t.same((await vpp.answer('Transact', 3)).ops, ['a']);
  t.same(kit.node().gauges, { programmed: 3 });
  await kit.tell({ type: 'Add', pod: 'b' });
  await vpp.refuse('Transact', new Error('no'));
  t.match(kit.log.lines.at(-1), {
    level: 'warn',
    text: /pod\(add\)/,
    fields: { actor: 'root/pods', pod: 'b' },
  });
  await vpp.none();
  await kit.clock.advance(2000);
  t.same((await vpp.message('Transact')).ops, ['b']);
  await kit.clock.advance(1000);
  t.match(kit.log.lines.at(-1)?.fields.err, { code: 'ASK_DEADLINE' });
});

t.test('the kit says what is wrong', async (t) => {
  const kit = await make(t);
  const vpp = kit.mailbox<VppMessage>('vpp');
  await t.rejects(vpp.message('Transact'), /root\/vpp was sent no Transact; unread: \[\]/);
  await kit.tell({ type: 'Add', pod: 'a' });
  await t.rejects(vpp.none(), /root\/vpp was sent \[Transact\]/);
  t.equal((await vpp.messages()).length, 1);
  vpp.ref.tell({ type: 'Forget' });
  await t.rejects(vpp.answer('Forget', undefined as never), /carries no reply/);
  await t.rejects(kit.crash(new Error('x'), 'root/nobody'), /does not run/);
  t.throws(() => kit.node('root/nobody'), /nobody lives/);
  const fails = pods(vpp.ref, {
    ...kit.stub<LinkMessage>('link').spec,
    start: () => Promise.reject(new Error('no link')),
  });
  await t.rejects(actorKit(t, fails), { message: 'no link' });
});

t.test('handlers answer by themselves; crashes can be injected; children can be stand-ins', async (t) => {
  const kit = await make(t);
  const ops: string[] = [];
  kit.mailbox<VppMessage>('vpp').on('Transact', (message) => {
    ops.push(...message.ops);
    message.reply.resolve(1);
  });
  await kit.tell({ type: 'Add', pod: 'a' });
  await kit.crash(new Error('injected'));
  t.equal(kit.node().state, 'backoff');
  await kit.clock.advance(100);
  await kit.tell({ type: 'Add', pod: 'b' });
  t.same(ops, ['a', 'b']);
  t.same(kit.children, ['link']);
  await kit.crash(new Error('injected'), 'root/pods/link');
  await kit.clock.advance(100);
  t.equal(kit.node('root/pods/link').incarnation, 3, 'one restart with its parent, one of its own');
});
