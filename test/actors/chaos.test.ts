import t from 'tap';
import type { Fault } from '../../lab/vpp/faults.js';
import type { VppObject } from '../../src/objects/object.js';
import { keyOf } from '../../src/objects/object.js';
import { isNodeTag } from '../../src/objects/owner.js';
import { NodeLab } from './node-lab.js';
import { podAddress } from './pod-lab.js';

const innocents = 20;
const routes_count = 10_000;
/** By which the stand-in knows the pod that it dies of, whatever sandbox and address it has. */
const poison_mtu = 1314;

const prefixOf = (n: number): string => `10.${100 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}/32`;
const routeOf = (n: number): VppObject => ({
  kind: 'route',
  source: 'connectivity',
  table_id: 0,
  prefix: prefixOf(n),
  paths: [{ via: 'drop' }],
});
const routes = Array.from({ length: routes_count }, (_, n) => routeOf(n));

/** VPP takes so long for one route in so many. */
const slow_ms = 300;
const slow_every = 2000;
const stall_ms = 10_000;

/** A node with innocent pods on a VPP that dies of the poison pod, and of this one of the routes. */
async function poisoned(
  t: Parameters<typeof NodeLab.start>[0],
  { poison, is_slow }: Scene,
): Promise<NodeLab> {
  const lab = await NodeLab.start(t);
  await lab.until(() => lab.pods.settledness?.settled === true, 5000);
  const calls = Array.from({ length: innocents }, (_, n) =>
    lab.pods.begin(`p${n}`, { ips: [podAddress(n + 1)] }),
  );
  await lab.until(() => calls.every(({ answer }) => answer !== undefined), 5000);
  for (const { answer } of calls) if (!answer?.successful) throw new Error(JSON.stringify(answer));
  lab.vpps.faults = [
    { fault: 'die', at: { message: 'tap_create_v3', holding: `"host_mtu_size":${poison_mtu}` } },
    { fault: 'die', at: { message: 'ip_route_add_del_v2', holding: `"${prefixOf(poison)}"` } },
    ...Array.from({ length: is_slow ? routes_count / slow_every : 0 }, (_, n): Fault => {
      const at = { message: 'ip_route_add_del_v2', nth: n * slow_every + 1 };
      return { fault: 'delay', at, ms: slow_ms };
    }),
  ];
  for (const fault of lab.vpps.faults) lab.vpps.vpp!.fault(fault);
  return lab;
}

/** Pods that VPP has, by their records. */
function connectedPods({ pods, vpps }: NodeLab): number {
  const taps = [...vpps.vpp!.state.interfaces.all].filter(({ tap, tag }) => tap && !isNodeTag(tag)).length;
  const done = [...pods.store.records.values()].filter(({ phase }) => phase === 'done').length;
  return taps === done ? taps : -1;
}

interface Scene {
  readonly poison: number;
  readonly is_slow: boolean;
}

const scenes: readonly Scene[] = [
  { poison: 0, is_slow: false },
  { poison: 4321, is_slow: true },
  { poison: routes_count - 1, is_slow: false },
];

for (const scene of scenes) {
  const { poison, is_slow } = scene;
  const how = is_slow ? ', of a slow VPP and by a loop that stalls' : '';
  t.test(
    `a poison route (${poison}) among 10,000 and a poison pod are found, and nobody else${how}`,
    async (t) => {
      const lab = await poisoned(t, scene);
      const { model, pods, quarantine, vpps } = lab;

      if (is_slow) {
        vpps.vpp!.fault({ fault: 'delay', at: { message: 'control_ping' }, ms: 100 });
        const asked = vpps.vpp!.counts.get('control_ping') ?? 0;
        await lab.until(() => (vpps.vpp!.counts.get('control_ping') ?? 0) > asked, 5000);
      }
      lab.want(routes);
      if (is_slow) {
        await lab.pass(20);
        t.ok(model.inFlight > 0, 'in the middle of it, and of a probe');
        await lab.clock.stall(stall_ms);
      }
      const routed = () => model.there_count === routes_count - 1 && model.failed.size === 1;
      t.ok((await lab.until(routed, 30_000)) < 30_000, 'all other routes are there');
      t.equal(vpps.lives, 3, 'VPP died twice of the route');
      t.strictSame([...model.failed.keys()], [keyOf(routeOf(poison))]);
      t.ok(
        (await lab.until(() => connectedPods(lab) === innocents, 10_000)) < 10_000,
        'and the pods are back',
      );

      const first = pods.begin('poison', { mtu: poison_mtu, sandbox: 's1', ips: [podAddress(901)] });
      await lab.until(() => first.answer !== undefined, 10_000);
      await lab.until(() => vpps.lives === 5, 10_000);
      const second = pods.begin('poison', { mtu: poison_mtu, sandbox: 's2', ips: [podAddress(902)] });
      await lab.until(() => second.answer !== undefined, 10_000);
      t.match(second.answer, { successful: false, errorMessage: /VPP died twice/ });
      await lab.until(() => routed() && connectedPods(lab) === innocents, 30_000);
      t.equal(vpps.lives, 5, 'VPP died twice of the pod, whatever its sandbox');
      t.ok(routed(), 'all other routes are there again');
      t.equal(connectedPods(lab), innocents, 'and all other pods');
      t.strictSame(
        quarantine.list().sort(),
        ['pod default/poison eth0', keyOf(routeOf(poison))].sort(),
        'only they are convicted',
      );
      t.equal(lab.gaveUp, undefined, 'the node did not give up');
      t.match(pods.settledness, { settled: true });
      t.match(await pods.add('late', { ips: [podAddress(800)] }), { successful: true }, 'and serves on');
    },
  );
}

t.test('no false alarm', async (t) => {
  const lab = await NodeLab.start(t);
  await lab.until(() => lab.pods.settledness?.settled === true, 5000);
  const { vpps } = lab;

  await t.test('of a probe whose answer came while the event loop stood still', async (t) => {
    vpps.vpp!.fault({ fault: 'delay', at: { message: 'control_ping' }, ms: 100 });
    const asked = vpps.vpp!.counts.get('control_ping') ?? 0;
    await lab.until(() => (vpps.vpp!.counts.get('control_ping') ?? 0) > asked, 5000);
    await lab.clock.stall(10_000);
    await lab.pass(3000);
    t.equal(vpps.lives, 1, 'VPP lives on');
  });
  await t.test('of a VPP that takes its time, with 10,000 routes before it', async (t) => {
    lab.want(routes);
    for (let nth = 1; nth <= routes_count; nth += 500)
      vpps.vpp!.fault({ fault: 'delay', at: { message: 'ip_route_add_del_v2', nth }, ms: 1900 });
    for (let nth = 1; nth <= 10; nth += 1)
      vpps.vpp!.fault({ fault: 'delay', at: { message: 'control_ping', nth }, ms: 1900 });
    t.ok((await lab.until(() => lab.model.there_count === routes_count, 60_000)) < 60_000);
    t.equal(vpps.lives, 1, 'VPP lives on');
  });
  await t.test('and a true one is raised', async (t) => {
    vpps.vpp!.fault({ fault: 'hang', at: {} });
    await lab.until(() => vpps.lives === 2, 10_000);
    t.equal(vpps.lives, 2);
    t.strictSame(lab.quarantine.list(), []);
  });
});
