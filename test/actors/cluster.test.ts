import t from 'tap';
import type { ActorContext, ChildSpec } from '../../src/actor-system.js';
import { type ClusterDeps, cluster, type Learner, type SourceStatus } from '../../src/actors/cluster.js';
import type { Kind } from '../../src/calico/kinds/kind.js';
import type { KindName } from '../../src/calico/kinds/kinds.js';
import { Secret } from '../../src/config/secret.js';
import type { Change } from '../../src/k8s/reflector.js';
import type { AnyChange, ClusterChange, ClusterMessage } from '../../src/messages/cluster.js';
import { type ActorKit, actorKit, type KitBase, settle, type Teardown } from '../kit/actor-kit.js';

/** A reflector by hand. */
class Source {
  readonly known = new Map<string, unknown>();
  synced = false;
  running = false;

  constructor(
    readonly kind: Kind<unknown>,
    readonly deliver: (change: Change<unknown>) => void | Promise<void>,
  ) {}

  start(): void {
    this.running = true;
  }

  async stop(): Promise<void> {
    this.running = false;
  }

  snapshot(): Change<unknown> {
    return { kind: this.kind.name, synced: this.synced, changed: new Map(this.known) };
  }

  status() {
    return {
      kind: this.kind.name,
      synced: this.synced,
      doing: 'watching' as const,
      objects: this.known.size,
      lists: 1,
      watches: 1,
      faults: {},
      faulty_unshown: 0,
    };
  }

  /** As the reflector: what comes is known, and delivered. Resolves when the receivers have taken it in. */
  async say(synced: boolean, changes: Readonly<Record<string, unknown>> = {}): Promise<void> {
    this.synced = synced;
    const changed = new Map(Object.entries(changes));
    for (const [key, value] of changed) {
      if (value === undefined) this.known.delete(key);
      else this.known.set(key, value);
    }
    await this.deliver({ kind: this.kind.name, synced, changed });
  }
}

class Lab {
  readonly sources: Source[] = [];
  kit!: ActorKit<ClusterMessage>;
  statuses: () => readonly SourceStatus[] = () => [];
  /** What subscribers were told: `a1 Node! x=1`. */
  readonly told: string[] = [];
  /** Answers that subscribers keep back, where they do. */
  readonly kept: ClusterChange['reply'][] = [];
  readonly holding = new Set<string>();
  readonly contexts = new Map<string, ActorContext<ClusterChange>>();

  constructor(readonly learners: () => readonly Learner[] = () => []) {}

  deps(without = false): ClusterDeps {
    return {
      reflect: without
        ? undefined
        : (kind, deliver) => {
            const source = new Source(kind as Kind<unknown>, deliver as Source['deliver']);
            this.sources.push(source);
            return source as never;
          },
      namespace: 'bgp',
      learners: this.learners,
      random: () => 0,
      report: (status) => {
        this.statuses = status;
      },
    };
  }

  async start(t: Teardown, without = false): Promise<this> {
    this.kit = await actorKit(t, (base: KitBase) => {
      this.#base = base;
      return cluster(this.deps(without));
    });
    return this;
  }

  #base!: KitBase;

  /** The living reflectors, by kind or Secret, oldest first. */
  get running(): string[] {
    return this.sources
      .filter(({ running }) => running)
      .map(({ kind }) => (kind.name === 'Secret' ? `Secret ${kind.object_name}` : kind.name));
  }

  source(name: string): Source {
    return this.sources.findLast(({ kind, running }) => running && (kind.object_name ?? kind.name) === name)!;
  }

  /** An actor that subscribes when it starts. */
  async subscriber(name: string, kinds: readonly KindName[], secrets?: readonly string[]): Promise<void> {
    const spec: ChildSpec<ClusterChange> = {
      name,
      restart: 'permanent',
      shutdown_ms: 1000,
      mailbox_max: 100,
      handler_ms_max: 1000,
      start: (ctx) => {
        this.contexts.set(name, ctx);
        this.kit.ref.tell({ type: 'Subscribe', subscriber: ctx.this_life, kinds });
        if (secrets) this.kit.ref.tell({ type: 'WantSecrets', subscriber: ctx.this_life, names: secrets });
        return {
          receive: ({ change, reply }) => {
            this.told.push(`${name}${ctx.incarnation} ${shown(change)}`);
            if (this.holding.has(name)) this.kept.push(reply);
            else reply.resolve();
          },
        };
      },
    };
    await this.#base.system.spawn(spec);
    await this.settle();
  }

  settle(): Promise<void> {
    return settle(this.#base.system);
  }

  take(): string[] {
    return this.told.splice(0);
  }
}

function shown({ kind, synced, changed }: AnyChange): string {
  const text = [...changed].map(([key, value]) => {
    const content =
      value instanceof Map ? [...value.values()].map((each) => (each as Secret).reveal()) : value;
    return `${key}=${content}`;
  });
  return `${kind}${synced ? '!' : ''} ${text}`.trimEnd();
}

t.test('a kind is read for those who want it, once, and no longer than somebody wants it', async (t) => {
  const lab = await new Lab().start(t);
  t.strictSame(lab.running, []);
  await lab.subscriber('a', ['Node', 'IPPool']);
  t.strictSame(lab.running, ['Node', 'IPPool']);
  t.strictSame(lab.take(), ['a1 Node', 'a1 IPPool'], 'nothing is known, and that is said');
  await lab.source('Node').say(false, { x: 1 });
  await lab.source('Node').say(true, { y: 1 });
  t.strictSame(lab.take(), ['a1 Node x=1', 'a1 Node! y=1']);
  await lab.subscriber('b', ['Node']);
  t.strictSame(lab.running, ['Node', 'IPPool']);
  t.strictSame(lab.take(), ['b1 Node! x=1,y=1']);
  await lab.source('Node').say(true, { x: undefined });
  t.strictSame(lab.take().sort(), ['a1 Node! x=undefined', 'b1 Node! x=undefined']);
  const { this_life } = lab.contexts.get('a')!;
  await lab.kit.tell({ type: 'Subscribe', subscriber: this_life, kinds: ['Node', 'BGPPeer'] });
  t.strictSame(lab.running, ['Node', 'BGPPeer'], 'the last list counts');
  t.strictSame(lab.take(), ['a1 Node! y=1', 'a1 BGPPeer']);
});

t.test('who begins anew is told all again, and nothing of what an earlier life was to be told', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscriber('a', ['Node']);
  await lab.subscriber('b', ['Node']);
  await lab.source('Node').say(true, { x: 1, y: 1 });
  lab.take();
  lab.holding.add('a');
  let taken = false;
  const saying = lab
    .source('Node')
    .say(true, { x: 2 })
    .then(() => {
      taken = true;
    });
  await lab.settle();
  t.strictSame(lab.take().sort(), ['a1 Node! x=2', 'b1 Node! x=2']);
  t.notOk(taken, 'a has not taken it in');
  lab.holding.clear();
  await lab.kit.crash(new Error('defect'), 'root/a');
  await saying;
  await lab.source('Node').say(true, { z: 1 });
  t.strictSame(lab.take(), ['b1 Node! z=1'], 'one that is down holds nobody back');
  t.strictSame(lab.running, ['Node']);
  await lab.kit.clock.advance(100);
  t.strictSame(lab.take(), ['a2 Node! x=2,y=1,z=1'], 'not z alone, as if that were all there is');
  await lab.source('Node').say(true, { z: 2 });
  t.strictSame(lab.take().sort(), ['a2 Node! z=2', 'b1 Node! z=2']);
});

t.test('an answer that does not come is a change told again; meanwhile the others are told', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscriber('a', ['Node']);
  await lab.subscriber('b', ['Node']);
  await lab.source('Node').say(true);
  lab.take();
  lab.holding.add('a');
  let taken = 0;
  const say = (changes: object) =>
    void lab
      .source('Node')
      .say(true, changes as Record<string, unknown>)
      .then(() => {
        taken += 1;
      });
  say({ x: 1 });
  await lab.kit.clock.advance(9999);
  t.equal(taken, 0);
  await lab.kit.clock.advance(1);
  t.equal(taken, 1, 'after 10 s the API server is read on');
  say({ y: 1 });
  await lab.settle();
  t.strictSame(lab.take().sort(), ['a1 Node! x=1', 'b1 Node! x=1', 'b1 Node! y=1']);
  lab.holding.clear();
  await lab.kit.clock.advance(30_000);
  t.strictSame(lab.take(), ['a1 Node! x=1,y=1']);
  t.equal(taken, 2);
  t.match(lab.kit.node().gauges, { subscribers: 2, waiting: 0 });
});

t.test('a second subscription of one life takes the place of the first', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscriber('a', ['Node']);
  await lab.source('Node').say(true);
  lab.take();
  lab.holding.add('a');
  for (const key of ['x', 'y']) void lab.source('Node').say(true, { [key]: 1 });
  await lab.settle();
  t.strictSame(lab.take(), ['a1 Node! x=1']);
  await lab.kit.tell({ type: 'Subscribe', subscriber: lab.contexts.get('a')!.this_life, kinds: ['Node'] });
  t.strictSame(lab.take(), ['a1 Node! x=1,y=1']);
  lab.holding.clear();
  for (const reply of lab.kept) reply.resolve();
  await lab.settle();
  t.strictSame(lab.take(), [], 'what waited for the first is in the second');
});

t.test('a change that is refused is told later, with what has come since', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscriber('a', ['Node']);
  await lab.source('Node').say(true);
  lab.take();
  lab.holding.add('a');
  for (let n = 0; n < 3; n += 1) void lab.source('Node').say(true, { [n]: n });
  await lab.settle();
  t.strictSame(lab.take(), ['a1 Node! 0=0']);
  t.match(lab.kit.node().gauges, { waiting: 3 });
  lab.holding.clear();
  lab.kept.shift()!.reject(new Error('not now'));
  await lab.kit.clock.advance(100);
  t.strictSame(lab.take(), ['a1 Node! 0=0,1=1,2=2']);
});

t.test('Secrets by name: each is told, also that it is not there; what is no name is none', async (t) => {
  const lab = await new Lab().start(t);
  const secret = (text: string) => new Map([['tor', new Secret(text)]]);
  await lab.subscriber('bgp', ['Secret', 'BGPPeer'], ['one', 'two', 'Not a name,metadata.name=x']);
  t.strictSame(lab.running, ['BGPPeer', 'Secret one', 'Secret two']);
  t.match(lab.source('one').kind, { namespace: 'bgp', plural: 'secrets' });
  t.strictSame(lab.take(), [
    'bgp1 Secret!',
    'bgp1 BGPPeer',
    'bgp1 Secret Not a name,metadata.name=x=undefined',
  ]);
  await lab.source('one').say(true, { one: secret('abc') });
  t.strictSame(lab.take(), ['bgp1 Secret one=abc']);
  await lab.source('two').say(true);
  t.strictSame(lab.take(), ['bgp1 Secret! two=undefined'], 'not there, and now all are known');
  await lab.source('two').say(true, { two: secret('def') });
  t.strictSame(lab.take(), ['bgp1 Secret! two=def']);
  await lab.source('one').say(true, { one: undefined });
  t.strictSame(lab.take(), ['bgp1 Secret! one=undefined']);
  const subscriber = lab.contexts.get('bgp')!.this_life;
  await lab.kit.tell({ type: 'WantSecrets', subscriber, names: ['two', 'three'] });
  t.strictSame(lab.running, ['BGPPeer', 'Secret two', 'Secret three']);
  t.strictSame(lab.take(), ['bgp1 Secret two=def'], 'of the third nothing is known yet');
  t.match(lab.statuses(), [{ kind: 'BGPPeer' }, { kind: 'Secret', object: 'two' }, { object: 'three' }]);
  t.notMatch(JSON.stringify(await lab.kit.system.describe('root/cluster', 500)), /def/);
  await lab.kit.tell({
    type: 'WantSecrets',
    subscriber,
    names: Array.from({ length: 200 }, (_, n) => `s${n}`),
  });
  t.equal(lab.running.length, 129, '128 Secrets, and no more');
  t.match(lab.kit.log.lines.at(-1)?.text, /128 are read: s199 is not/);
  await lab.kit.tell({ type: 'WantSecrets', subscriber, names: [] });
  t.strictSame(lab.running, ['BGPPeer']);
});

t.test(
  'learners are told first, of their kind, in each incarnation anew; at the end nothing is read',
  async (t) => {
    const learned: string[] = [];
    let lives = 0;
    const lab = new Lab(() => {
      lives += 1;
      const life = lives;
      return [{ kind: 'IPPool', take: (change) => void learned.push(`${life} ${shown(change)}`) }];
    });
    await lab.start(t);
    t.strictSame(lab.running, ['IPPool'], 'read with nobody subscribed');
    await lab.subscriber('a', ['IPPool']);
    await lab.source('IPPool').say(true, { p: 1 });
    t.strictSame(learned.splice(0), ['1 IPPool! p=1']);
    await lab.kit.tell({ type: 'Subscribe', subscriber: lab.contexts.get('a')!.this_life, kinds: [] });
    t.strictSame(lab.running, ['IPPool']);
    await lab.kit.crash(new Error('defect'));
    await lab.kit.clock.advance(100);
    t.strictSame(lab.running, ['IPPool'], 'the old one has ended');
    await lab.source('IPPool').say(true, {});
    t.strictSame(learned, ['2 IPPool!']);
    await lab.kit.system.stop();
    t.strictSame(lab.running, []);
  },
);

t.test('without an API server each subscriber is told once that nothing is known', async (t) => {
  const lab = await new Lab().start(t, true);
  await lab.subscriber('a', ['Node', 'Secret'], ['x']);
  t.strictSame(lab.take(), ['a1 Node', 'a1 Secret', 'a1 Secret']);
  t.strictSame(lab.statuses(), []);
});
