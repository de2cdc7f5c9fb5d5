import t from 'tap';
import type { Client } from 'vpp-binapi-ts';
import { judgeClock, readVppClock } from '../../src/vpp-conn/vpp-clock.js';

/** The same numbers each time. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A VPP whose clock goes `rate` times as fast as ours, each of whose answers is late by what `late` says: before it looks, and behind. */
function scene(rate: number, late: () => number) {
  let now_ms = 1000;
  let sleeps = 0;
  const clock = {
    now_ms: () => now_ms,
    async sleep(ms: number) {
      sleeps += 1;
      now_ms += ms + late();
    },
  };
  const request = async () => {
    now_ms += late();
    const reply = `Time now ${((now_ms * rate) / 1000).toFixed(6).replace(/^0/, '')}, Thu, 1 Jan 1970 00:00:00 GMT\n`;
    now_ms += late();
    return { reply };
  };
  const vpp = { request } as unknown as Pick<Client, 'request'>;
  const judge = async () => judgeClock(await readVppClock(vpp, clock), vpp, clock);
  return { judge, sleeps: () => sleeps, now_ms: () => now_ms };
}

t.test(
  'nothing that keeps VPP or this process from a CPU makes a clock that is right a wrong one, or the other way',
  async (t) => {
    const random = dice(7);
    let unknown = 0;
    for (let n = 0; n < 3000; n += 1) {
      const late_ms = 10 ** (4 * random() - 1);
      const late = () => late_ms * random() ** 4;
      const right = await scene(0.9 + 0.2 * random(), late).judge();
      if (typeof right === 'object') t.fail(right.fault);
      if (right === 'unknown') unknown += 1;
      const factor = 2.01 + 300 * random() ** 3;
      const wrong = await scene(random() < 0.5 ? factor : 1 / factor, late).judge();
      if (wrong === 'right') t.fail(`${factor} times is right`);
      if (wrong === 'unknown') unknown += 1;
    }
    t.ok(unknown < 600, `and few are never known: ${unknown} of 6000`);
  },
);

t.test('a VPP that answers at once costs one pause, one that is late some seconds at most', async (t) => {
  const quick = scene(1, () => 0.1);
  t.equal(await quick.judge(), 'right');
  t.equal(quick.sleeps(), 1);
  const late = scene(1, () => 700);
  const before_ms = late.now_ms();
  t.equal(await late.judge(), 'unknown');
  t.ok(late.now_ms() - before_ms < 2000 + 5 * 700);
});

t.test('what is no clock of VPP says nothing', async (t) => {
  const clock = { now_ms: () => 0 };
  for (const [reply, vpp_ms] of [
    ['Time now 12.345678, Thu', 12_345.678],
    ['Time now .002800, Thu', 2.8],
    ['Time now 7.000000', 7000],
    ['', undefined],
    ['Time now 1.5e-3, Thu', undefined],
    ['Time now 1,5, Thu', undefined],
    ['Time now 1, Thu', undefined],
    ['Time now -1.5, Thu', undefined],
    ['Time now +NaN, Thu', undefined],
    ["unknown input `show clock'\n", undefined],
  ] as const) {
    const vpp = { request: async () => ({ reply }) } as unknown as Pick<Client, 'request'>;
    t.equal((await readVppClock(vpp, clock))?.vpp_ms, vpp_ms, reply);
  }
});
