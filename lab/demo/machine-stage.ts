/** The demo in network namespaces of this machine: the real program, and a real VPP where there is one. Needs root. */

import type { RealVpp } from '../real-vpp.js';
import { type NodeOptions, RunningNode } from '../running-node.js';
import { Topology } from '../topology.js';
import { ipState, Traffic } from '../traffic.js';
import type { Stage } from './stage.js';
import { TwoNodes } from './two-nodes.js';

const with_vpp =
  'Everything below is real: the program, VPP, the Linux network and the packets. It plays in network namespaces that ' +
  "the demo makes and removes again; this machine's own network is not touched.";

const with_stand_in = (why: string): string =>
  `There is no VPP to use here (${why}), so a stand-in takes its place: a program that speaks VPP's API, remembers ` +
  'what it is told and makes the same Linux devices, but forwards NO PACKETS. All else is real: the program, the ' +
  "Linux network, the crashes. It plays in network namespaces that the demo makes and removes again; this machine's " +
  'own network is not touched.';

export function machineStage(vpp: RealVpp): Stage {
  const topology = new Topology();
  const traffic = new Traffic(topology);
  const of_nodes: NodeOptions['vpp'] = vpp.usable ? vpp : { stand_in: { real_devices: true } };
  const node = new RunningNode(topology, { vpp: of_nodes });
  const clusters: TwoNodes[] = [];
  return {
    opening: vpp.usable ? with_vpp : with_stand_in(vpp.why),
    paths: node.config.paths,
    pods: topology.pods,
    lastWords: (lines) => node.lastWords(lines),
    machine: {
      topology,
      traffic,
      has_packets: vpp.usable,
      async killNode() {
        await node.kill('SIGKILL');
      },
      twoNodes(teller) {
        const two = new TwoNodes(of_nodes, vpp.usable, teller);
        clusters.push(two);
        return two;
      },
    },
    openHost: () => topology.lab.host.open(topology.lab.namespace('node')),
    openPod: ({ netns }) => topology.lab.host.open(netns),
    hostState: () => ipState(topology, 'node'),
    launchNode: () => node.launch(),
    killVpp() {
      const pid = node.vppPid();
      if (pid === undefined) throw new Error('there is no VPP to kill');
      process.kill(pid, 'SIGKILL');
    },
    async stopNode() {
      const { code, signal } = await node.stop();
      return code ?? signal;
    },
    async close() {
      for (const cluster of clusters) await cluster.close();
      traffic.close();
      await node.close();
      topology.close();
    },
  };
}
