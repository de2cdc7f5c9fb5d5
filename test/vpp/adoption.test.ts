import { readdirSync, readlinkSync } from 'node:fs';
/**
 * A node process that finds its VPP as it should be has nothing to tell it: over every variant of uplink and of pod, the second life
 * sends questions alone. Beside a real VPP the stand-in, which needs root all the same: devices move between namespaces.
 */
import t, { type Test } from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type NodeOptions, type PodOptions, startNode } from '../../lab/running-node.js';
import { type Pod, Topology, type TopologyOptions } from '../../lab/topology.js';

const real_vpp = findRealVpp();
const without_namespaces = canUseNetns();

/** An interface of the pod's own wishes. */
const wishes = (spec: object): PodOptions => ({
  annotations: { 'cni.projectcalico.org/vppInterfacesSpec': JSON.stringify({ eth0: spec }) },
});

/** By what is particular about it: how the pod asks for it, which may depend on the pod. */
const pod_variants: Readonly<Record<string, PodOptions | ((pod: Pod) => PodOptions)>> = {
  plain: {},
  tap: wishes({ isl3: false }),
  ip4: ({ ip4 }) => ({ ips: [`${ip4}/32`] }),
  ip6: ({ ip6 }) => ({ ips: [`${ip6}/128`] }),
  'host ports': {
    ports: [
      { port: 80, host_port: 30080 },
      { protocol: 'UDP', port: 53, host_port: 30053 },
      { port: 443, host_port: 30443, host_ip: '10.0.0.2' },
    ],
  },
  'allowed source prefixes': {
    annotations: {
      'cni.projectcalico.org/allowedSourcePrefixes': JSON.stringify(['10.77.0.0/24', 'fd77::/64']),
    },
  },
  'two queues': wishes({ rx: 2, tx: 2 }),
  'other rings': wishes({ rxqsz: 256, txqsz: 512 }),
  'rx mode default': wishes({ rxMode: 'default' }),
  'rx mode polling': wishes({ rxMode: 'polling' }),
  'rx mode interrupt': wishes({ rxMode: 'interrupt' }),
  'an MTU of its own': { mtu: 1300, allow_ip_forwarding: true },
};

interface Variant {
  readonly topology?: TopologyOptions;
  readonly driver?: NodeOptions['driver'];
  readonly environment?: NodeOptions['environment'];
  /** Only a real VPP has it. */
  readonly real_alone?: true;
  /** Tried on the stand-in where there is no real VPP, too: the others take minutes. */
  readonly everywhere?: true;
}

const uplink = (changes: object, name = 'eth0') => ({
  interfaceName: name,
  vppDriver: 'af_packet',
  isMain: name === 'eth0',
  rxqsz: 256,
  txqsz: 256,
  ...changes,
});
const uplinks = (...all: object[]): Variant['environment'] => ({
  CALICOVPP_INTERFACES: JSON.stringify({ uplinkInterfaces: all }),
});

const uplink_variants: Readonly<Record<string, Variant>> = {
  'af_packet, both families': { everywhere: true },
  'af_packet, IPv4': { topology: { variant: 'ip4_only' } },
  'af_packet, IPv6': { topology: { variant: 'ip6_only' } },
  'an on-link gateway': { topology: { variant: 'on_link_gateway' } },
  'a virtual address': { topology: { variant: 'virtual_address' } },
  'two uplinks': { topology: { variant: 'two_uplinks' } },
  'default gateways, redirect rules, service prefixes': {
    everywhere: true,
    environment: {
      SERVICE_PREFIX: '10.96.0.0/12,fd96::/112',
      CALICOVPP_INITIAL_CONFIG: JSON.stringify({
        defaultGWs: '10.0.0.1,fd00::1',
        redirectToHostRules: [
          { proto: 'tcp', port: 9100, ip: '10.0.0.2' },
          { proto: 'udp', port: 53, ip: 'fd00::2' },
        ],
      }),
    },
  },
  'af_packet that polls, with two queues': {
    topology: { queues: 2 },
    environment: uplinks(uplink({ rxMode: 'polling', rx: 2, tx: 2 })),
  },
  'af_packet by interrupts': { environment: uplinks(uplink({ rxMode: 'interrupt' })) },
  'af_packet as the driver has it': { environment: uplinks(uplink({ rxMode: 'default' })) },
  'af_packet of version 3, an MTU of its own': {
    environment: uplinks(
      uplink({ mtu: 1400, rxqsz: 32, annotations: { AfPacketUseV3: 'true', AfPacketQdiscBypass: 'true' } }),
    ),
  },
  af_xdp: { topology: { offload: 'node' }, driver: 'af_xdp', real_alone: true },
  'an interface of VPP’s own beside the main uplink': {
    topology: { variant: 'two_uplinks' },
    environment: {
      ...uplinks(uplink({}), uplink({ vppDriver: 'none' }, 'eth1')),
      CALICOVPP_CONFIG_EXEC_TEMPLATE: 'create tap id 7 host-if-name own7\nset interface tag tap7 main-eth1',
    },
    real_alone: true,
  },
};

/** IFA_F_TENTATIVE */
const tentative = 0x40;

async function changesNothing(t: Test, vpp: NodeOptions['vpp'], variant: Variant): Promise<void> {
  const pods = Object.entries(pod_variants);
  const topology = new Topology({ ...variant.topology, pods: pods.length });
  t.teardown(() => topology.close());
  const { driver, environment } = variant;
  const node = await startNode(topology, {
    vpp,
    ...(driver && { driver }),
    ...(environment && { environment }),
  });
  t.teardown(() => node.close());
  t.strictSame(
    topology.within('node', (host) => host.addresses().filter(({ flags }) => flags & tentative)),
    [],
    "the host's addresses are of use as soon as the node is ready",
  );
  const { ip4, ip6 } = topology.node;
  for (const [at, [name, options]] of pods.entries()) {
    if ((name === 'ip4' && !ip4) || (name === 'ip6' && !ip6)) continue;
    const pod = topology.pods[at]!;
    await node.add(pod, typeof options === 'function' ? options(pod) : options);
  }
  const pid = node.vppPid();
  t.not((await node.changesSent()).length, 0, 'the first life has programmed it');
  for (const life of ['second', 'third']) {
    await node.kill('SIGKILL');
    await node.restart();
    t.equal(node.vppPid(), pid, `VPP is adopted by the ${life} life`);
    t.strictSame(await node.changesSent(), [], `and told nothing by the ${life} life`);
  }
  t.strictSame(await node.stop(), { code: 0, signal: null });
}

for (const [name, variant] of Object.entries(uplink_variants)) {
  const lacking = real_vpp.usable ? without_namespaces : real_vpp.why;
  t.test(`${name}, on VPP`, lacking === undefined ? {} : { skip: lacking }, async (t) => {
    if (real_vpp.usable) await changesNothing(t, real_vpp, variant);
  });
  const beside = real_vpp.usable || variant.everywhere ? undefined : `beside a real VPP: ${real_vpp.why}`;
  const alone = variant.real_alone ? 'the stand-in does not have it' : (without_namespaces ?? beside);
  t.test(`${name}, on the stand-in`, alone === undefined ? {} : { skip: alone }, (t) =>
    changesNothing(t, { stand_in: { real_devices: true } }, variant),
  );
}

const without_vpp = real_vpp.usable ? without_namespaces : real_vpp.why;

t.test(
  'a VPP whose clients are killed again and again closes their sockets',
  without_vpp === undefined ? {} : { skip: without_vpp },
  async (t) => {
    if (!real_vpp.usable) return;
    const topology = new Topology({ pods: 1 });
    t.teardown(() => topology.close());
    const node = await startNode(topology, { vpp: real_vpp });
    t.teardown(() => node.close());
    const pid = node.vppPid()!;
    const sockets = (): number =>
      readdirSync(`/proc/${pid}/fd`).filter((fd) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
        } catch {
          return false;
        }
      }).length;
    const at_first = sockets();
    for (let life = 0; life < 5; life += 1) {
      await node.kill('SIGKILL');
      await node.restart();
      t.equal(node.vppPid(), pid);
    }
    t.ok(sockets() <= at_first + 3, `${sockets()} sockets, ${at_first} at first`);
  },
);
