import fc from 'fast-check';
import t from 'tap';
import { interfacesUsed, type VppObject } from '../../src/objects/object.js';
import type { Operation } from '../../src/reconcile/operation.js';
import type { Transaction } from '../../src/reconcile/transaction.js';
import { adds, ExecutorLab, removes, route, tap, turn, up, type Way } from './executor-lab.js';

const interfaces = ['a', 'b', 'c'];
const pool = (owner: string): Operation[] => {
  const tags = interfaces.map((tag) => `${owner}-${tag}`);
  const objects: VppObject[] = tags.flatMap((tag, n) => [
    tap(tag),
    up(tag),
    { kind: 'interface_mtu', interface: tag, mtu: 1500 },
    route(`${owner.charCodeAt(0)}.${n}.0.0/16`, tag),
    route(`${owner.charCodeAt(0)}.${n}.1.0/24`),
  ]);
  return [...adds(...objects), ...removes(...objects)];
};

const asked = fc.array(
  fc.record({
    owner: fc.constantFrom('A', 'B', 'C'),
    urgency: fc.constantFrom('urgent', 'prompt', 'bulk'),
    on_error: fc.constantFrom('continue', 'rollback'),
    picks: fc.array(fc.nat(29), { maxLength: 100 }),
    given_up: fc.constantFrom(false, false, false, true),
  } satisfies { [K in keyof Transaction | 'picks' | 'given_up']?: unknown }),
  { maxLength: 12 },
);

t.test(
  'whatever is asked for, refused and answered when, each transaction ends and says what became of it',
  async (t) => {
    let refused = 0;
    const property = fc.asyncProperty(
      asked,
      fc.array(fc.nat(100), { minLength: 1, maxLength: 50 }),
      fc.array(fc.tuple(fc.constantFrom<Way>('prompt', 'bulk'), fc.nat(20)), { minLength: 1, maxLength: 50 }),
      async (transactions, refusals, answers) => {
        const lab = new ExecutorLab();
        let messages = 0;
        lab.vpp.refuses = () => {
          messages += 1;
          const no = refusals[messages % refusals.length]! < 25;
          if (no) refused += 1;
          return no ? -1 : undefined;
        };
        const results = transactions.map(async ({ owner, urgency, on_error, picks, given_up }) => {
          const all = pool(owner);
          const operations = picks.map((pick) => ({ ...all[pick]! }));
          const result = await lab
            .run(operations, { owner, urgency, on_error }, () => given_up)
            .catch((error: Error & { code?: string }) => error.code);
          if (given_up) return result === 'abandoned';
          if (typeof result !== 'object') return false;
          const { outcomes, error } = result;
          const whole =
            outcomes.length === operations.length &&
            outcomes.every(({ operation }, at) => operation === operations[at]);
          const failed = outcomes.some((outcome) => outcome.error !== undefined);
          return whole && failed === (error !== undefined);
        });
        let ended = false;
        const all = Promise.all(results).then((each) => {
          ended = true;
          return each.every(Boolean);
        });
        for (let n = 0; !ended; n += 1) {
          if (n > 10_000) throw new Error('it hangs');
          const [way, count] = answers[n % answers.length]!;
          await lab.vpp.answer(1 + count, way);
          if (n % answers.length === answers.length - 1)
            await lab.vpp.answer(5, way === 'bulk' ? 'prompt' : 'bulk');
        }
        const { in_flight, transactions: left } = lab.executor.gauges();
        return (
          (await all) && in_flight === 0 && left === 0 && lab.vpp.most.prompt <= 66 && lab.vpp.most.bulk <= 66
        );
      },
    );
    await fc.assert(property, { numRuns: 150, seed: 1 });
    t.ok(refused > 200, `${refused} messages were refused`);
  },
);

t.test(
  'what needs an interface is sent when that is known, and in the order in which it was asked for',
  async (t) => {
    const property = fc.asyncProperty(fc.array(fc.nat(14), { maxLength: 60 }), async (picks) => {
      const lab = new ExecutorLab();
      const all = pool('A').slice(0, 15);
      const operations = picks.map((pick) => ({ ...all[pick]! }));
      const result = lab.run(operations);
      await turn();
      await lab.vpp.answerAll();
      const { outcomes } = await result;
      const made = new Set<string>();
      return outcomes.every(({ operation: { object }, error }) => {
        const lacks = interfacesUsed(object).some((tag) => !made.has(tag));
        if (object.kind === 'tap') made.add(object.tag);
        return lacks === (error !== undefined);
      });
    });
    await t.resolves(fc.assert(property, { numRuns: 150, seed: 1 }));
  },
);
