/** A host that has its IPv6 from a router, on a real VPP: it hears what the router says while VPP has the uplink. */

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { patience } from '../../lab/patience.js';
import { missing } from '../../lab/programs.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { Router } from '../../lab/router.js';
import { startNode } from '../../lab/running-node.js';
import { Topology } from '../../lab/topology.js';
import { Traffic } from '../../lab/traffic.js';

const vpp = findRealVpp();
const reason = vpp.usable ? canUseNetns() : vpp.why;

const no_router = reason ?? missing('radvd');
t.test(
  'a host that has its IPv6 from a router goes on to hear it',
  no_router === undefined ? {} : { skip: no_router },
  async (t) => {
    if (!vpp.usable) throw new Error(vpp.why);
    const topology = new Topology({ variant: 'ip4_only' });
    t.teardown(() => topology.close());
    const traffic = new Traffic(topology);
    t.teardown(() => traffic.close());
    const gateway = 'fd55::1';
    topology.lab.run('outside', 'ip', 'address', 'add', `${gateway}/64`, 'dev', 'out0', 'nodad');
    const lives = { router_s: 12, valid_s: 30, preferred_s: 12, prefix: 'fd55::/64' };
    const router = new Router(topology, 'out0', lives);
    t.teardown(() => router.close());
    const shown = () => {
      const ip = (...words: string[]) => JSON.parse(topology.lab.run('node', 'ip', '-6', '-j', ...words));
      const addresses = ip('address', 'show', 'dev', 'eth0', 'scope', 'global')[0]?.addr_info ?? [];
      const defaults = ip('route', 'show', 'default');
      return {
        address: addresses.find(({ local = '' }: { local?: string }) => local.startsWith('fd55:')),
        by_router: defaults.filter(({ protocol }: { protocol: string }) => protocol === 'ra'),
      };
    };
    const until = async (
      holds: (now: ReturnType<typeof shown>) => boolean,
      what: string,
      within_ms = 10_000 * patience,
    ) => {
      const deadline = Date.now() + within_ms;
      while (!holds(shown()) && Date.now() < deadline) await sleep(100);
      t.ok(holds(shown()), `${what}: ${JSON.stringify(shown())}`);
    };
    await until(({ address, by_router }) => address !== undefined && by_router.length === 1, 'before VPP');
    const { address } = shown();

    const node = await startNode(topology, { vpp });
    t.teardown(() => node.close());
    const prober = traffic.probe('node', gateway, { through: [node.vppPid()!] });
    const renewed = (now: ReturnType<typeof shown>) =>
      now.address?.local === address.local && now.address.valid_life_time > 20 && now.by_router.length === 1;
    await until(renewed, 'advertised on the tap');
    // Longer than the router and the preferred life of the address would have lasted.
    await sleep(14_000);
    await until(
      (now) => renewed(now) && now.address.preferred_life_time > 5,
      'renewed on the tap, again and again',
    );
    t.equal(await traffic.ping('node', gateway), 3, 'and of use');
    const { longest_gap_ms, longest_stall_ms } = await prober.stop();
    t.ok(longest_stall_ms < 500, `all the time, but for ${longest_stall_ms} of ${longest_gap_ms} ms`);
    t.strictSame(await node.differences(), []);

    await node.kill('SIGKILL');
    await node.restart();
    await sleep(1000);
    await until(renewed, 'after a restart of the node');

    await router.leave();
    await until(({ by_router }) => by_router.length === 0, 'a router that has left is no default router');
    const again = new Router(topology, 'out0', lives);
    t.teardown(() => again.close());
    await until(renewed, 'one that comes is');
    again.close();
    await until(
      ({ by_router }) => by_router.length === 0,
      'one that says nothing any more is none when its time is up',
      20_000 * patience,
    );
    const third = new Router(topology, 'out0', lives);
    t.teardown(() => third.close());
    await until(renewed, 'back');

    t.strictSame(await node.stop(), { code: 0, signal: null });
    await until(renewed, 'after VPP');
    // Longer than the address would be good for.
    await sleep(11_000);
    await until(renewed, 'and the kernel goes on to hear it', 1000);
  },
);
