/** The life of a node in ten chapters. Every chapter ends with what it has proved. */
import { setTimeout as sleep } from 'node:timers/promises';
import { durationText } from '../../src/debug/duration.js';
import type { NetworkNamespace } from '../../src/linux/network.js';
import type { Snapshot } from '../../src/reconcile/snapshot.js';
import { cniAdd } from '../cni-driver.js';
import { patience } from '../patience.js';
import type { Pod } from '../topology.js';
import { probe_interval_ms } from '../traffic.js';
import { exploring } from './explore.js';
import { type Comparison, compare, heldText, podRoutes } from './held.js';
import { namespaceText } from './linux-text.js';
import { type NodeEvent, NodeView } from './node-view.js';
import { pingAll, tcpRate, Watch, type WatchedFlow } from './packets.js';
import type { Machine, Stage } from './stage.js';
import { columns_shown, type Teller } from './teller.js';

const ready_ms = 20_000 * patience;
/** The promise of the product, see the goals in its documentation, on a machine that may be busy with other things. */
export const recovery_ms_max = 5000 * patience;

export class Story {
  readonly #stage: Stage;
  readonly #teller: Teller;
  readonly #view: NodeView;
  readonly #before: ReturnType<Stage['hostState']>;
  readonly #times: string[] = [];

  constructor(stage: Stage, teller: Teller) {
    this.#stage = stage;
    this.#teller = teller;
    this.#view = new NodeView(stage);
    this.#before = stage.hostState();
  }

  /** Up to the packets: after it the node runs, with two pods. */
  async begin(): Promise<void> {
    this.#theStage();
    await this.#boot();
    await this.#twoPods();
    await this.#tree();
    await this.#whatVppHolds();
    await this.#packets();
  }

  async faults(): Promise<void> {
    await this.#vppDies();
    await this.#nodeDies();
  }

  /** What a visitor can do while the node runs. */
  invite(): void {
    const teller = this.#teller;
    teller.chapter('Your turn');
    teller.say('The node runs on. In another terminal:');
    teller.offer(exploring(this.#stage));
    teller.say('Ctrl-C here stops the node and gives the host back.');
  }

  #theStage(): void {
    const teller = this.#teller;
    const { machine } = this.#stage;
    teller.chapter('The stage');
    teller.say(
      machine === undefined
        ? "A host with one network device, eth0, and empty namespaces for two pods, p1 and p2. The host's links " +
            'with their addresses, and its routes:'
        : 'A host with one network device, eth0, whose cable leads to a gateway, and empty namespaces for two pods, ' +
            "p1 and p2. The host's links with their addresses, and its routes:",
    );
    teller.show(this.#text(this.#stage.openHost()));
  }

  async #boot(): Promise<void> {
    const teller = this.#teller;
    teller.chapter('The node boots');
    this.#stage.launchNode();
    const took_ms = await this.#view.untilReady(ready_ms);
    const status = await this.#view.status();
    teller.say(
      `calico-vpp-node has written down how the host looked, started VPP ${status?.vpp.version ?? ''}, given it ` +
        'eth0, and put a tap in its place: same name, same addresses, same routes, so that the host notices nothing.',
    );
    teller.show(this.#text(this.#stage.openHost()));
    const host = this.#stage.openHost();
    const kind = host.link('eth0')?.kind;
    host.close();
    teller.prove('eth0 of the host is a tap of VPP now', kind === 'tun');
    teller.prove(`the node is ready after ${durationText(took_ms)}`, true);
    this.#times.push(`ready in ${durationText(took_ms)}`);
  }

  async #twoPods(): Promise<void> {
    const teller = this.#teller;
    const { pods } = this.#stage;
    teller.chapter('Two pods');
    teller.say(
      "Calico's CNI plugin asks for pods over a gRPC socket; here the demo asks. VPP makes a tun device inside the " +
        "pod's namespace, the node gives it addresses and routes. This is what pod p1 then has:",
    );
    const took_ms: number[] = [];
    for (const pod of pods) took_ms.push(await this.#add(pod));
    teller.show(this.#text(this.#stage.openPod(pods[0]!)));
    pods.forEach((pod, at) => {
      const took = durationText(took_ms[at]!);
      teller.prove(`pod ${pod.name} has ${pod.ip4} and ${pod.ip6} after ${took}`, this.#hasAddresses(pod));
    });
  }

  async #tree(): Promise<void> {
    const teller = this.#teller;
    teller.chapter('The supervision tree');
    teller.say(
      'Each part of the node is an actor, restarted on its own when it fails; each pod has one. The debug socket ' +
        'shows them, even when one of them is stuck.',
    );
    teller.show(await this.#view.tree(columns_shown), 'calico-vpp-node tree');
  }

  async #whatVppHolds(): Promise<void> {
    const teller = this.#teller;
    const { machine, pods } = this.#stage;
    teller.chapter('What VPP holds');
    if (machine?.has_packets) {
      teller.say("VPP's own command line, first its interfaces, then its route to pod p1:");
      const command = 'show interface';
      teller.show(interfacesOnly(await this.#view.vppctl(command)), `calico-vpp-node vppctl ${command}`);
      const route = `show ip fib ${pods[0]!.ip4}/32`;
      teller.show(routeOnly(await this.#view.vppctl(route)), `calico-vpp-node vppctl ${route}`);
    }
    teller.say(
      "What the node has programmed, read back over VPP's API: the interfaces with the tags by which a node knows them " +
        'again after a crash, and how many objects there are of each kind.',
    );
    const snapshot = await this.#view.snapshot();
    teller.show(heldText(snapshot));
    for (const pod of pods) {
      const routes = podRoutes(snapshot, pod);
      teller.prove(`VPP has both routes to pod ${pod.name}`, routes.length >= 2);
    }
  }

  async #packets(): Promise<void> {
    const teller = this.#teller;
    const { machine } = this.#stage;
    teller.chapter('Packets');
    if (!machine?.has_packets) {
      teller.say('None: the stand-in forwards nothing. With a VPP and root this chapter sends real ones.');
      return;
    }
    const { topology, traffic } = machine;
    teller.say('All of these go through VPP, by IPv4 and by IPv6, and are answered:');
    const { rows, all_answered } = await pingAll(topology, traffic);
    teller.table(rows);
    teller.prove('every ping was answered', all_answered);
    const rate = await tcpRate(topology, traffic);
    teller.prove(rate ?? 'a TCP transfer from p1 to p2 arrived whole', rate !== undefined);
  }

  async #vppDies(): Promise<void> {
    const teller = this.#teller;
    const { machine } = this.#stage;
    teller.chapter('VPP is killed');
    teller.say(
      'SIGKILL, as a crash would. The node notices, starts another VPP and programs it with what the old one held. ' +
        'The devices in host and pods have stayed, with their addresses and routes. The events, since the kill:',
    );
    const held = await this.#view.snapshot();
    const before = await this.#view.status();
    const watch = this.#watch(machine);
    await watch?.untilAnswered(ready_ms);
    const killed_at = Date.now();
    this.#stage.killVpp();
    const took_ms = await this.#view.untilReady(
      ready_ms,
      ({ vpp }) => vpp.pid !== 0 && vpp.pid !== before?.vpp.pid,
    );
    await watch?.untilAnswered(ready_ms);
    const { objects, differences } = await this.#untilHolding(held);
    const flows = await watch?.stop();
    teller.show(eventsText(await this.#view.eventsSince(killed_at), killed_at));
    teller.say("What the actor of VPP's process says of itself now, in the tree:");
    teller.show(await this.#view.gauges('vpp-process'));
    if (flows !== undefined) this.#outages(flows);
    teller.prove(`the node was ready again after ${durationText(took_ms)}`, took_ms < recovery_ms_max);
    if (differences.length > 0) teller.show(differences.join('\n'));
    teller.prove(`the new VPP holds the same ${objects} objects as the old one`, differences.length === 0);
    teller.prove('no actor had to be restarted for it', (await this.#view.restarts()) === 0);
    this.#times.push(`VPP replaced in ${durationText(took_ms)}`);
  }

  #outages(flows: readonly WatchedFlow[]): void {
    const teller = this.#teller;
    teller.say(`A ping every ${probe_interval_ms} ms has gone each of these ways all the time:`);
    teller.table(
      flows.map(({ name, report }) => [name, `longest gap ${durationText(report.longest_gap_ms)}`]),
    );
    const worst_ms = Math.max(...flows.map(({ report }) => report.longest_gap_ms));
    teller.prove(
      `none of these ways was silent for longer than ${durationText(worst_ms)}`,
      worst_ms < recovery_ms_max,
    );
    this.#times.push(`pings unanswered for ${durationText(worst_ms)} when VPP was killed`);
  }

  async #nodeDies(): Promise<void> {
    const teller = this.#teller;
    const { machine } = this.#stage;
    teller.chapter('The node itself is killed');
    if (machine === undefined) {
      teller.say(
        'Not here, where node and VPP share the process of the demo. With root, this chapter kills the one and shows ' +
          'that the other runs on.',
      );
      return;
    }
    teller.say(
      'SIGKILL again, now to calico-vpp-node. VPP runs on without it. The next life of the node finds that VPP, ' +
        'compares what it holds with what it should, and takes it over.',
    );
    const held = await this.#view.snapshot();
    const before = await this.#view.status();
    const watch = this.#watch(machine);
    await watch?.untilAnswered(ready_ms);
    const killed_at = Date.now();
    await machine.killNode();
    this.#stage.launchNode();
    const took_ms = await this.#view.untilReady(ready_ms);
    await watch?.untilAnswered(ready_ms);
    const flows = await watch?.stop();
    const after = await this.#view.status();
    teller.show(eventsText(await this.#view.eventsSince(killed_at), killed_at));
    if (flows !== undefined) this.#losses(flows);
    teller.prove(`the node was back after ${durationText(took_ms)}`, took_ms < recovery_ms_max);
    teller.prove(
      `it has adopted VPP ${before?.vpp.pid}, which holds the same objects`,
      before?.vpp.pid === after?.vpp.pid &&
        compare(held, await this.#view.snapshot()).differences.length === 0,
    );
    this.#times.push(`the node back in ${durationText(took_ms)}`);
  }

  #losses(flows: readonly WatchedFlow[]): void {
    const teller = this.#teller;
    teller.table(
      flows.map(({ name, report }) => [name, `${report.received} packets answered, ${report.lost} lost`]),
    );
    const lost = flows.reduce((sum, { report }) => sum + report.lost, 0);
    teller.prove(`packets lost: ${lost}`, lost === 0);
    this.#times.push(`packets lost when the node was killed: ${lost}`);
  }

  /** The node stops and the host is compared with what it was. */
  async stop(): Promise<void> {
    const teller = this.#teller;
    teller.chapter('The node stops');
    teller.say(
      'Told to end, as Kubernetes does with SIGTERM, the node stops VPP and undoes, step by step, what it had ' +
        'written down before it changed it.',
    );
    const began = performance.now();
    const code = await this.#stage.stopNode();
    const took = durationText(performance.now() - began);
    teller.show(this.#text(this.#stage.openHost()));
    teller.prove(`the node ended with exit code ${code} after ${took}`, code === 0);
    teller.say(`Compared with what was there before: ${Object.keys(this.#before).join(', ')}.`);
    const changes = await this.#changesOfHost();
    if (changes.length > 0) teller.show(changes.join('\n'));
    teller.prove('the host is exactly as it was before the demo', changes.length === 0);
  }

  /** The node has stopped: there is room for two others. */
  async twoNodes(): Promise<void> {
    const { machine } = this.#stage;
    if (machine !== undefined) {
      const cluster = machine.twoNodes(this.#teller);
      try {
        this.#times.push(...(await cluster.tell()));
      } finally {
        await cluster.close();
      }
      return;
    }
    this.#teller.chapter('Two nodes');
    this.#teller.say(
      'Not here, where all is in the process of the demo. With root, this chapter connects two.',
    );
  }

  /** The kernel tells of a carrier (`operstate`) up to a second late. */
  async #changesOfHost(): Promise<readonly string[]> {
    const deadline = performance.now() + carrier_ms_max;
    for (;;) {
      const changes = this.#changesOfHostNow();
      if (changes.length === 0 || performance.now() > deadline) return changes;
      await sleep(look_ms);
    }
  }

  #changesOfHostNow(): readonly string[] {
    const after = this.#stage.hostState();
    return Object.entries(this.#before).flatMap(([topic, texts]) => [
      ...texts.filter((text) => !after[topic]?.includes(text)).map((text) => `was: ${text}`),
      ...(after[topic] ?? []).filter((text) => !texts.includes(text)).map((text) => `is:  ${text}`),
    ]);
  }

  get summary(): string {
    return this.#times.join('; ');
  }

  async #add({ name, netns, ip4, ip6 }: Pod): Promise<number> {
    const began = performance.now();
    const reply = await cniAdd({
      socket: this.#stage.paths.cni_socket,
      netns,
      pod: name,
      ips: [`${ip4}/32`, `${ip6}/128`],
    });
    if (!reply.successful) throw new Error(`pod ${name}: ${reply.errorMessage}`);
    return performance.now() - began;
  }

  #hasAddresses(pod: Pod): boolean {
    const namespace = this.#stage.openPod(pod);
    try {
      const addresses = namespace.addresses().map(({ prefix }) => prefix.split('/')[0]);
      return [pod.ip4, pod.ip6].every((address) => addresses.includes(address));
    } finally {
      namespace.close();
    }
  }

  #text(namespace: NetworkNamespace): string {
    try {
      return namespaceText(namespace);
    } finally {
      namespace.close();
    }
  }

  #watch(machine: Machine | undefined): Watch | undefined {
    return machine?.has_packets ? new Watch(machine.topology, machine.traffic) : undefined;
  }

  /** Pods follow the node: it may be ready a little before VPP holds all. Answers what differs in the end. */
  async #untilHolding(held: Snapshot): Promise<Comparison> {
    const deadline = performance.now() + recovery_ms_max;
    for (;;) {
      const comparison = compare(held, await this.#view.snapshot());
      if (comparison.differences.length === 0 || performance.now() > deadline) return comparison;
      await sleep(look_ms);
    }
  }
}

const look_ms = 50;
const carrier_ms_max = 2000 * patience;

const interface_lines_max = 12;

/** `show interface` without its counters: they have lines and columns of their own. */
function interfacesOnly(text: string): string {
  return text
    .split('\n')
    .filter((line, at) => at === 0 || /^\S/.test(line))
    .map((line) => line.slice(0, 68))
    .slice(0, interface_lines_max)
    .join('\n');
}

/** The route itself, without the tables before and after it and the graph that VPP shows below it. */
function routeOnly(text: string): string {
  const [, ...route] = text.split(/\n\s*\n/)[0]!.split('\n');
  return route.join('\n');
}

const events_max = 18;

/** What happened after a fault. That an actor starts is followed by that it runs: once is enough. */
function eventsText(all: readonly NodeEvent[], since_ms: number): string {
  const events = all.filter(({ text }) => text !== 'starting');
  const lines = events.slice(0, events_max).map(({ at, path, text }) => {
    const [what] = text.split('; its last output');
    return `${`+${Math.round(at - since_ms)} ms`.padStart(8)}  ${path.replace(/^root\//, '')}: ${what}`;
  });
  const more = events.length - lines.length;
  return [...lines, ...(more > 0 ? [`${' '.repeat(10)}and ${more} more`] : [])].join('\n');
}
