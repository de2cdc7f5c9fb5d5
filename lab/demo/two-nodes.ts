/** Two nodes of a cluster: pods of the one reach pods of the other, in each way that Calico's pools know. */
import { setTimeout as sleep } from 'node:timers/promises';
import { durationText } from '../../src/debug/duration.js';
import { type Encapsulation, endpointSlice, kubernetesService } from '../k8s/calico-objects.js';
import { LabCluster } from '../lab-cluster.js';
import { patience } from '../patience.js';
import { pathOf } from '../programs.js';
import type { NodeOptions } from '../running-node.js';
import type { Pod } from '../topology.js';
import { type ProbeReport, probe_interval_ms } from '../traffic.js';
import { recovery_ms_max } from './story.js';
import type { Teller } from './teller.js';

const ways: readonly { readonly encapsulation: Encapsulation; readonly name: string }[] = [
  { encapsulation: 'flat', name: 'as they are' },
  { encapsulation: 'ipip', name: 'in IPIP' },
  { encapsulation: 'vxlan', name: 'in VXLAN' },
];
const families = ['ip4', 'ip6'] as const;
const settle_ms = 10_000 * patience;
/** BGP takes its time to come up: the first attempt is seconds away. */
const sessions_ms = 60_000;
const look_ms = 50;
const pings = 3;
const transfer_bytes = 10_000_000;
const service_address = '10.96.0.10';
const service_port = 5005;

export class TwoNodes {
  readonly #vpp: NodeOptions['vpp'];
  readonly #has_packets: boolean;
  readonly #teller: Teller;
  #cluster: LabCluster | undefined;

  constructor(vpp: NodeOptions['vpp'], has_packets: boolean, teller: Teller) {
    this.#vpp = vpp;
    this.#has_packets = has_packets;
    this.#teller = teller;
  }

  /** Answers what is to be said of it in short. */
  async tell(): Promise<readonly string[]> {
    const teller = this.#teller;
    teller.chapter('Two nodes');
    // A session needs packets.
    const gobgpd = this.#has_packets ? pathOf('gobgpd') : undefined;
    teller.say(
      'A cluster of two nodes, n1 and n2, each with a VPP, and a pod each, n1p1 and n2p1, and an API server, a stand-in. ' +
        (gobgpd === undefined
          ? "Which block is whose they read there, where Calico's IPAM has written it down; the routes follow from it. No daemon runs beside them."
          : `Which block is their own they read there, and tell each other by BGP: each has ${gobgpd} beside it.`),
    );
    const began = performance.now();
    const environment = gobgpd && { CALICOVPP_ROUTE_SOURCE: 'bgp', CALICOVPP_GOBGPD_BINARY: gobgpd };
    this.#cluster = await LabCluster.start({ vpp: this.#vpp, ...(environment && { environment }) });
    teller.prove(`both are ready, with their pods, after ${durationText(performance.now() - began)}`, true);
    const times: string[] = [];
    if (gobgpd !== undefined) times.push(await this.#heard());
    for (const way of ways) times.push(...(await this.#way(way)));
    times.push(...(await this.#service()));
    if (this.#has_packets) times.push(await this.#otherVppDies());
    return times;
  }

  /** Until each has told the other of its blocks. */
  async #heard(): Promise<string> {
    const [first, second] = this.#cluster!.running;
    const { blocks } = second!.topology;
    const began = performance.now();
    const holds = async (): Promise<boolean> => {
      const { routes } = await first!.ways();
      return families.every((family) => routes[blocks[family]] !== undefined);
    };
    let heard = await holds();
    while (!heard && performance.now() - began < sessions_ms) {
      await sleep(look_ms);
      heard = await holds();
    }
    const said = `n1 heard of the blocks of n2 by BGP after ${durationText(performance.now() - began)}`;
    this.#teller.prove(said, heard);
    return said;
  }

  /** Of the second node, how the first one leads to it. */
  async #way({ encapsulation, name }: (typeof ways)[number]): Promise<string[]> {
    const teller = this.#teller;
    const cluster = this.#cluster!;
    const [first, second] = cluster.running;
    const watch = this.#has_packets && encapsulation !== 'flat' ? this.#watch() : undefined;
    await watch?.answered();
    await cluster.setPools(encapsulation);
    const { node, blocks } = second!.topology;
    const tunnel = { flat: node.ip4, ipip: `ipip-${node.ip4}`, vxlan: `vxlan-4096-${node.ip4}` }[
      encapsulation
    ];
    const deadline = performance.now() + settle_ms;
    let shown = await first!.ways();
    while (shown.routes[blocks.ip4] !== tunnel && performance.now() < deadline) {
      await sleep(look_ms);
      shown = await first!.ways();
    }
    teller.say(
      `The pools say: packets between pods of two nodes go ${name}. So n1 leads to the blocks of n2:`,
    );
    teller.table(families.map((family) => [blocks[family], 'by', String(shown.routes[blocks[family]])]));
    teller.prove(`n1 sends to pods of n2 ${name}`, shown.routes[blocks.ip4] === tunnel);
    if (!this.#has_packets) return [];
    await watch?.answered();
    // Before the transfer, which fills the rings.
    const reports = await watch?.stop();
    const answered = await this.#pings();
    teller.prove(`pings from n1p1 to n2p1 are answered, by IPv4 and IPv6, ${name}`, answered);
    const rate = await this.#tcp();
    teller.prove(rate ?? 'a TCP transfer from n1p1 to n2p1 arrived whole', rate !== undefined);
    if (reports === undefined) return [];
    const lost = reports.reduce((sum, report) => sum + report.lost, 0);
    const sent = reports.reduce((sum, report) => sum + report.sent, 0);
    teller.prove(`of ${sent} pings while the way changed ${lost} were lost`, lost <= lost_max);
    return [`pings lost when pods' packets began to go ${name}: ${lost} of ${sent}`];
  }

  /** One address for the pods of both nodes; and what becomes of it when one of them goes. */
  async #service(): Promise<string[]> {
    const teller = this.#teller;
    const { server, running, nodes, traffic } = this.#cluster!;
    const [near, far] = nodes.sites.map(({ pods }) => pods[0]!);
    const both = [near!, far!];
    teller.say(
      `A Service: ${service_address} port 80 stands for port ${service_port} of both pods. No kube-proxy runs here: VPP of each node chooses.`,
    );
    const endpoints = (pods: readonly Pod[]) =>
      endpointSlice(
        'web',
        pods.map(({ ip4, name }) => ({ address: ip4, node: name.slice(0, 2) })),
        [{ port: service_port }],
      );
    const key = `tcp ${service_address} 80`;
    const programmed = async (pods: readonly Pod[]): Promise<number | undefined> => {
      const began = performance.now();
      const expected = pods.map(({ ip4 }) => `${ip4} ${service_port}`).join(', ');
      for (;;) {
        const shown = await Promise.all(running.map((node) => node.services()));
        const took_ms = performance.now() - began;
        if (shown.every((services) => services[key] === expected)) return took_ms;
        if (took_ms > settle_ms) return undefined;
        await sleep(look_ms);
      }
    };
    const spec = { clusterIP: service_address, clusterIPs: [service_address], ports: [{ port: 80 }] };
    await server.put(kubernetesService({ name: 'web', spec }), endpoints(both));
    const took_ms = await programmed(both);
    const times = [`VPP of both nodes had a new Service after ${durationText(took_ms ?? settle_ms)}`];
    teller.prove(times[0]!, took_ms !== undefined);
    if (this.#has_packets) {
      for (const { name } of both) await traffic.serve(name, service_port);
      const served = await this.#servedBy(20);
      teller.prove(
        `of 20 connections of n1 to the Service some were served by each: ${served.join(', ')}`,
        served.length === 2,
      );
    }
    await server.put(endpoints([far!]));
    teller.prove(
      'n1p1 is no end of it any more, and VPP of both nodes knows',
      (await programmed([far!])) !== undefined,
    );
    if (!this.#has_packets) return times;
    const rest = await this.#servedBy(10);
    teller.prove('from then on each connection is served by n2p1', rest.join() === far!.ip4);
    return times;
  }

  /** Who has served so many connections of the first node, or what was in their way. */
  async #servedBy(count: number): Promise<readonly string[]> {
    const { traffic } = this.#cluster!;
    const served = new Set<string>();
    for (let n = 0; n < count; n += 1) {
      const { receipt, error = '' } = await traffic.connect('n1', service_address, 80);
      served.add(receipt?.at ?? error);
    }
    return [...served].sort();
  }

  async #otherVppDies(): Promise<string> {
    const teller = this.#teller;
    const [, second] = this.#cluster!.running;
    teller.say('VPP of n2 is killed. n1 is not told, and need not be: n2 comes back as it was.');
    const watch = this.#watch();
    await watch.answered();
    const pid = second!.vppPid()!;
    process.kill(pid, 'SIGKILL');
    await second!.untilOtherVpp(pid);
    await watch.answered();
    const worst_ms = Math.max(...(await watch.stop()).map(({ longest_gap_ms }) => longest_gap_ms));
    const outage = `n1p1 did not hear of n2p1 for ${durationText(worst_ms)}`;
    teller.prove(outage, worst_ms < recovery_ms_max);
    return outage;
  }

  async #pings(): Promise<boolean> {
    const { traffic, nodes } = this.#cluster!;
    const [from, to] = nodes.sites.map(({ pods }) => pods[0]!);
    const counts = await Promise.all(
      families.map((family) => traffic.ping(from!.name, to![family], { count: pings })),
    );
    return counts.every((count) => count === pings);
  }

  async #tcp(): Promise<string | undefined> {
    const { traffic, nodes } = this.#cluster!;
    const [from, to] = nodes.sites.map(({ pods }) => pods[0]!);
    const { whole, mbit_s } = await traffic.tcp(from!.name, to!.name, to!.ip4, { bytes: transfer_bytes });
    return whole ? `${transfer_bytes / 1e6} MB over TCP from n1p1 to n2p1: ${mbit_s} Mbit/s` : undefined;
  }

  #watch() {
    const { traffic, nodes } = this.#cluster!;
    const [from, to] = nodes.sites.map(({ pods }) => pods[0]!);
    const probers = families.map((family) => traffic.probe(from!.name, to![family]));
    return {
      answered: () => Promise.all(probers.map((prober) => prober.untilAnswered(settle_ms))),
      stop: (): Promise<ProbeReport[]> => Promise.all(probers.map((prober) => prober.stop())),
    };
  }

  /** May be called twice, and before anything was told. */
  async close(): Promise<void> {
    await this.#cluster?.close();
  }
}

/** A tenth of a second of both families: nodes hear of a change one after the other. */
const lost_max = 200 / probe_interval_ms;
