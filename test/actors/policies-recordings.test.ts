/** What a real Felix has said, through the actor into the stand-in: npol has what model and compiler alone say. */
import fc from 'fast-check';
import t from 'tap';
import type { Npol } from '../../lab/vpp/npol.js';
import type { FelixMessage } from '../../src/felix/messages.js';
import { modelOf, recorded } from '../felix/stream.js';
import type { Teardown } from '../kit/actor-kit.js';
import { compiled, npolOf, points } from '../policies/scenes.js';
import { contentOf, PoliciesLab, same, unchanged } from './policies-lab.js';

/** What a real Felix has said to one of its nodes, without what is not for us, and its pods among the interfaces. */
class Recording {
  readonly messages: readonly FelixMessage[];
  readonly in_sync: number;
  readonly points: typeof points;
  readonly #workloads: readonly string[];

  constructor(readonly name: string) {
    this.messages = recorded(name).filter(({ kind }) => kind !== 'ignored');
    this.in_sync = this.messages.findIndex(({ kind }) => kind === 'in_sync');
    const keys = this.messages.flatMap((message) => (message.kind === 'workload' ? [message.key] : []));
    this.#workloads = [...new Set(keys)].sort();
    const workload = (endpoint: string, i: number) => [`pod-${i}`, { kind: 'workload', endpoint }] as const;
    this.points = [...this.#workloads.map(workload), ...points.slice(1)];
  }

  /** What npol is to have after so many of its messages, by model and compiler alone. */
  plainly(count = this.messages.length): Npol {
    const model = modelOf(this.messages.slice(0, count));
    return npolOf(compiled(model, undefined, this.points), model, this.points);
  }

  async lab(t: Teardown): Promise<PoliciesLab> {
    const lab = await PoliciesLab.start(t);
    lab.names = this.points.map(([tag]) => tag);
    await lab.newVpp();
    await lab.nodeReady();
    lab.putPods(Object.fromEntries(this.#workloads.map((endpoint, i) => [`pod-${i}`, endpoint])));
    return lab;
  }
}

const recordings = [
  ...['k8s-basic', 'k8s-basic-v331', 'tiers', 'tiers-v331', 'hostendpoints', 'icmp-and-negation'],
  ...['sets-services', 'profiles', 'wep-fields', 'burst', 'config'],
].map((name) => new Recording(name));

t.test('a recording in order, squashed, cut and begun anew leaves in npol what it says', async (t) => {
  let compared = 0;
  for (const recording of recordings) {
    const { name, messages, in_sync } = recording;
    const lab = await recording.lab(t);
    await lab.felix(messages.slice(0, in_sync));
    t.equal(lab.npol.interfaces.size, 0, `${name}: not in sync`);
    // The older Felix says the same in other words.
    const step = name.endsWith('v331') ? 6 : 1;
    for (let i = in_sync; i < messages.length; i += step) {
      await lab.tell(messages.slice(i, i + step));
      same(t, lab, recording.plainly(i + step), `${name} ${i}`);
      compared += 1;
    }
    for (let cut = name.length % 8; cut < messages.length; cut += cut < in_sync ? 4 : 12) {
      const before = lab.content();
      await lab.felix(messages.slice(0, cut));
      if (cut <= in_sync) unchanged(t, lab, before, `${name} cut at ${cut}: not in sync`);
      else same(t, lab, recording.plainly(cut), `${name} cut at ${cut}`);
      if (cut % 2 === 0) await lab.felixEnds();
    }
    await lab.felix(messages);
    same(t, lab, recording.plainly(), `${name} squashed`);
  }
  t.ok(compared > 400, `${compared}`);
});

/** In another order, which keeps that of messages on one object: of each flush alone. */
function shuffled(flush: readonly FelixMessage[], order: readonly number[]): FelixMessage[] {
  const objectOf = (message: FelixMessage): string => {
    const kind = message.kind.replace(/_.*/, '');
    if ('update' in message) return `set ${message.update.id}`;
    return `${kind} ${'key' in message ? message.key : 'name' in message ? message.name : 'id' in message ? message.id : ''}`;
  };
  const mixed = flush
    .map((message, i) => [order[i % order.length]!, message] as const)
    .sort(([a], [b]) => a - b)
    .map(([, message]) => message);
  const queues = new Map<string, FelixMessage[]>();
  for (const message of flush)
    queues.set(objectOf(message), [...(queues.get(objectOf(message)) ?? []), message]);
  return mixed.map((message) => queues.get(objectOf(message))!.shift()!);
}

t.test('the order of objects in what is told at once is of no matter', async (t) => {
  const labs = new Map<Recording, PoliciesLab>();
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...recordings),
      fc.integer({ min: 2, max: 40 }),
      fc.array(fc.nat(1000), { minLength: 13, maxLength: 13 }),
      async (recording, size, order) => {
        const { messages, in_sync } = recording;
        const lab = labs.get(recording) ?? (await recording.lab(t));
        labs.set(recording, lab);
        await lab.felix([...shuffled(messages.slice(0, in_sync), order), messages[in_sync]!]);
        for (let at = in_sync + 1; ; at += size) {
          const npol = recording.plainly(at);
          const [is, wanted] = [lab.content(), contentOf(npol, lab.names)].map((all) => JSON.stringify(all));
          if (is !== wanted) throw new Error(`${recording.name} ${at}: ${is}\ninstead of ${wanted}`);
          if (at >= messages.length) break;
          await lab.tell(shuffled(messages.slice(at, at + size), order));
        }
      },
    ),
    { numRuns: Number(process.env.POLICY_RUNS ?? 10) },
  );
});
