import t from 'tap';
import { TurnedClock } from '../../../lab/turned-clock.js';
import { type LinkRemoval, LinkRemovals, removal_ms_max } from '../../../src/host/netlink/link-removal.js';

const under_way_max = 4;

/** A kernel that takes its time: each removal goes on when it is told. */
class Kernel {
  readonly clock = new TurnedClock();
  readonly removals = new LinkRemovals(this.clock, under_way_max);
  readonly begun: string[] = [];
  readonly #detach = new Map<string, (failure?: Error) => void>();
  readonly #answer = new Map<string, () => void>();

  /** Answers what became of it. */
  remove(id: string, urgent = false): { outcome: string } {
    const result = { outcome: 'waits' };
    this.removals
      .remove(id, urgent, () => this.#begin(id))
      .then(
        () => {
          result.outcome = 'gone';
        },
        (error: Error & { code?: string }) => {
          result.outcome = error.code ?? error.message;
        },
      );
    return result;
  }

  async detach(id: string, failure?: Error): Promise<void> {
    this.#detach.get(id)!(failure);
    await this.clock.advance(0);
  }

  async answer(id: string): Promise<void> {
    this.#answer.get(id)!();
    await this.clock.advance(0);
  }

  #begin(id: string): LinkRemoval | undefined {
    if (id.startsWith('no')) return undefined;
    if (id.startsWith('bad')) throw Object.assign(new Error('cannot'), { code: 'EPERM' });
    this.begun.push(id);
    const detached = new Promise<void>((resolve, reject) => {
      this.#detach.set(id, (failure) => (failure ? reject(failure) : resolve()));
    });
    const answered = new Promise<void>((resolve) => this.#answer.set(id, resolve));
    return { detached, answered };
  }
}

t.test('one device after the other is taken out of use', async (t) => {
  const kernel = new Kernel();
  const [a, b] = [kernel.remove('a'), kernel.remove('b')];
  t.strictSame(kernel.begun, ['a']);
  await kernel.detach('a');
  t.equal(a.outcome, 'gone', 'without waiting for the answer');
  t.strictSame(kernel.begun, ['a', 'b']);
  await kernel.detach('b', new Error('refused'));
  t.equal(b.outcome, 'refused');
  t.equal(kernel.clock.pending, 0);
});

t.test('so many requests wait for their answers, and no more', async (t) => {
  const kernel = new Kernel();
  const ids = Array.from({ length: under_way_max + 2 }, (_, n) => `${n}`);
  for (const id of ids) kernel.remove(id);
  for (const id of ids.slice(0, under_way_max)) await kernel.detach(id);
  t.equal(kernel.begun.length, under_way_max);
  await kernel.answer('1');
  t.strictSame(kernel.begun, ids.slice(0, under_way_max + 1));
});

t.test('what is urgent goes first', async (t) => {
  const kernel = new Kernel();
  for (const id of ['a', 'b', 'c', 'd']) kernel.remove(id);
  kernel.remove('e', true);
  kernel.remove('c', true);
  kernel.remove('c');
  for (const id of ['a', 'c', 'e']) await kernel.detach(id);
  t.strictSame(kernel.begun, ['a', 'c', 'e', 'b'], 'then the others, in the order of their asking');
});

t.test('asked for again it is the same removal, until it is over', async (t) => {
  const kernel = new Kernel();
  const both = [kernel.remove('a'), kernel.remove('a')];
  t.strictSame(kernel.begun, ['a']);
  await kernel.detach('a');
  t.strictSame(both, [{ outcome: 'gone' }, { outcome: 'gone' }]);
  kernel.remove('a');
  t.strictSame(kernel.begun, ['a', 'a']);
});

t.test('what is not there, or cannot be asked for, holds nobody up', async (t) => {
  const kernel = new Kernel();
  const outcomes = ['none', 'bad', 'a'].map((id) => kernel.remove(id));
  await kernel.clock.advance(0);
  t.strictSame(
    outcomes.map(({ outcome }) => outcome),
    ['gone', 'EPERM', 'waits'],
  );
});

t.test('whoever asked waits for so long, and not longer', async (t) => {
  const kernel = new Kernel();
  const [a, b] = [kernel.remove('a'), kernel.remove('b')];
  await kernel.clock.advance(removal_ms_max);
  t.strictSame([a.outcome, b.outcome], ['ETIMEDOUT', 'ETIMEDOUT']);
  t.strictSame(kernel.begun, ['a'], 'what nobody waits for does not begin');
  const c = kernel.remove('c');
  t.strictSame(kernel.begun, ['a'], 'nor does another while the kernel is stuck');
  await kernel.detach('a');
  t.strictSame(kernel.begun, ['a', 'c']);
  await kernel.detach('c');
  t.equal(c.outcome, 'gone');
});
