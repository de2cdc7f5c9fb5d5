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
import { type HeardPacket, listenToPackets } from '../../src/host/packet-socket.js';

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

t.test(
  'a host whose address is lent hears what the DHCP server says, also of another address',
  reason === undefined ? {} : { skip: reason },
  async (t) => {
    if (!vpp.usable) throw new Error(vpp.why);
    const topology = new Topology({ variant: 'ip4_only' });
    t.teardown(() => topology.close());
    const { lab } = topology;
    const lease = ['valid_lft', '3600', 'preferred_lft', '3600'];
    lab.run('node', 'ip', 'address', 'change', '10.0.0.2/24', 'dev', 'eth0', ...lease);
    const node = await startNode(topology, { vpp });
    t.teardown(() => node.close());
    const netns = lab.namespace('node');
    const tap = () => JSON.parse(lab.run('node', 'ip', '-j', 'link', 'show', 'eth0'))[0];
    /** What comes by the tap of now. */
    const listen = () => {
      const heard = new Set<string>();
      const to = { netns, id: lab.host.identify(netns)!, link: tap().ifindex, packet_bytes: 128 };
      const onPacket = ({ bytes }: HeardPacket) => {
        const packet = Buffer.from(bytes);
        // Ethernet, IPv4 without options, UDP.
        if (packet.readUInt16BE(12) === 0x0800 && packet[23] === 17)
          heard.add(`${packet.subarray(30, 34).join('.')}:${packet.readUInt16BE(36)}`);
      };
      const listener = listenToPackets(to, onPacket, () => undefined);
      t.teardown(() => listener.close());
      const hears = async (address: string, port: number) => {
        lab.run('outside', 'bash', '-c', `echo offer > /dev/udp/${address}/${port}`);
        const deadline = Date.now() + 10_000 * patience;
        while (!heard.has(`${address}:${port}`) && Date.now() < deadline) await sleep(20);
        return heard.has(`${address}:${port}`);
      };
      return { heard, hears };
    };
    lab.run('outside', 'ip', 'neighbour', 'add', '10.0.0.77', 'lladdr', tap().address, 'dev', 'out0');
    const { heard, hears } = listen();
    t.ok(await hears('10.0.0.77', 68), 'an offer of another address');
    lab.run('outside', 'bash', '-c', 'echo other > /dev/udp/10.0.0.77/69');
    t.ok(await hears('10.0.0.2', 70));
    t.notOk(heard.has('10.0.0.77:69'), 'and nothing else that is for nobody');

    const first = node.vppPid()!;
    process.kill(first, 'SIGKILL');
    await node.untilOtherVpp(first);
    await node.untilReady();
    t.ok(await listen().hears('10.0.0.77', 68), 'by the next VPP');
    t.strictSame(await node.differences(), []);
    await node.kill('SIGKILL');
    await node.restart();
    t.ok(await listen().hears('10.0.0.77', 68), 'by an adopted VPP');
    t.strictSame(await node.differences(), []);
    t.strictSame(await node.stop(), { code: 0, signal: null });
  },
);
