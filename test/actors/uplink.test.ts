import { stat } from 'node:fs/promises';
import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import { FakePci, type FakePciDevice } from '../../lab/fake-pci.js';
import type { ChildSpec } from '../../src/actor-system.js';
import { uplink } from '../../src/actors/uplink.js';
import type { HookPoint, UplinkSpec } from '../../src/config.js';
import { isClusterRoute, own_route_protocol } from '../../src/desired/host-tap.js';
import { uplinkTag } from '../../src/desired/node-inputs.js';
import { desiredNode, nodeUplinkEntry } from '../../src/desired/uplink.js';
import type { RouterAdvertisement } from '../../src/ip/advertisement.js';
import type { NetworkNamespace } from '../../src/linux/network.js';
import type { EarlyNodeStatus, InPlace, NodeReady, NodeStatus } from '../../src/messages/node.js';
import type { UplinkMessage } from '../../src/messages/uplink.js';
import type { VppConnectionMessage, VppProcessMessage, VppUp } from '../../src/messages/vpp.js';
import { interfaceMade, interfacesUsed, keyOf, type VppObject } from '../../src/objects/object.js';
import type { KnownNeighbour } from '../../src/objects/routing.js';
import type { Operation } from '../../src/reconcile/operation.js';
import { applyOutcomes } from '../../src/reconcile/reconcile.js';
import type { Snapshot } from '../../src/reconcile/snapshot.js';
import type { TransactionResult } from '../../src/reconcile/transaction.js';
import { buffersTaken, type Taken } from '../../src/uplink/taken.js';
import { uplinkOf } from '../../src/uplink/uplink-of.js';
import type { UplinkReport, UplinkSettings } from '../../src/uplink/uplink-settings.js';
import { nodeOf } from '../desired/sample.js';
import { type ActorKit, actorKit, type KitBase, supervision, type Teardown } from '../kit/actor-kit.js';
import { macs, second_spec, specOf, UplinkLab, vpp_netns } from '../uplink/uplink-lab.js';

const { uplinks: _, ...inputs } = nodeOf();
const settings: UplinkSettings = {
  asked_gso: true,
  node_name: 'own',
  specs: [specOf()],
  inputs,
  transaction_ms: 20_000,
  verify_ms: 2000,
  services_ms: 5000,
  new_vpp_ms: 40_000,
  survey_ms: 50,
  retry_ms: 1000,
  retry_max_ms: 4000,
  failures_max: 3,
  pause_ms: 300_000,
  pause_max_ms: 1_000_000,
  shutdown_ms: 8000,
  prepared_by: ['pods', 'services'],
  prepare_ms: 5000,
  policed_by: ['policies'],
  police_ms: 500,
};

class Stale extends Error {
  readonly code = 'stale_generation';
}

/** The uplink actor between a VPP that keeps objects, a Linux in memory and hooks that do nothing. */
class Lab {
  readonly kit!: ActorKit<UplinkMessage>;
  readonly linux: UplinkLab;
  /** What was done, in order, to the host, to VPP and to the outside. */
  readonly effects: string[] = [];
  readonly reports: UplinkReport[] = [];
  /** What ends each attempt to publish addresses. */
  readonly publications: AbortSignal[] = [];
  /** By then they are there. `failing`: why they are not. */
  publishing: (failing: (cause: string) => void) => Promise<void> = async () => undefined;
  /** What is wrong with which object. */
  faults!: () => Readonly<Record<string, string>>;
  /** What VPP holds. */
  objects: readonly VppObject[] = [];
  /** Keys of what it was given, in order. */
  readonly added: string[] = [];
  readings = 0;
  refuses: (operation: Operation) => boolean = () => false;
  /** The next transaction tells that VPP has lost what it had. */
  lost_state = false;
  /** Neighbours that VPP resolves once it is nudged. */
  answering = new Set(['10.0.0.1', 'fd00::1']);
  answering_linux = new Set(['10.0.0.1', 'fd00::1']);
  nudged = new Set<string>();
  /** Whom VPP has met beside those. */
  met: KnownNeighbour[] = [];
  /** VPP takes in no neighbours. */
  deaf = false;
  /** It does not say whether it does. */
  mute = false;
  /** Fails the transaction that is under way. */
  lost: string | undefined;
  /** How long VPP takes for a transaction. */
  slow_ms = 0;
  /** What happens in hooks. */
  readonly during: Partial<Record<HookPoint, () => void>> = {};
  /** A hook that never ends. */
  hanging: HookPoint | undefined;
  unhang: () => void = () => undefined;
  generation = 0;
  /** Who says that VPP has theirs as soon as it is prepared. */
  readonly owners = new Set<InPlace['of']>(['pods', 'services', 'policies']);
  /** What those were told who prepare VPP. */
  readonly prepared: EarlyNodeStatus[] = [];
  /** Whether there is a VPP when the actor starts. */
  running = true;
  tapChanged: (() => void) | undefined;

  private constructor(
    readonly base: KitBase,
    readonly specs: readonly UplinkSpec[],
    readonly pci?: FakePci,
  ) {
    this.linux = new UplinkLab(base.clock, 'physical', specs.length > 1, pci);
    if (pci !== undefined) pci.add((pci as FakePci & { afterwards: FakePciDevice }).afterwards);
  }

  static async start(
    t: Teardown,
    changes: Partial<UplinkSettings> = {},
    prepare: (lab: Lab) => void = () => undefined,
    pci?: FakePci,
  ): Promise<Lab> {
    let lab!: Lab;
    const kit = await actorKit(
      t,
      (base) => {
        lab = new Lab(base, changes.specs ?? settings.specs, pci);
        prepare(lab);
        return lab.spec(base, changes);
      },
      { supervision: supervision({ intensity: { restarts_max: 3, window_ms: 600_000 } }) },
    );
    Object.assign(lab, { kit });
    const owners = kit.mailbox<EarlyNodeStatus>('owners');
    for (const type of ['NodePrepared', 'UplinksMade', 'NodeReady', 'NodeLost'] as const)
      owners.on(type, (message) => lab.hears(message));
    await kit.tell({ type: 'SubscribeEarly', subscriber: owners.ref });
    return lab;
  }

  spec(base: KitBase, changes: Partial<UplinkSettings>) {
    const process = base.mailbox<VppProcessMessage>('process');
    process.on('Shutdown', ({ reply }) => {
      this.note('end VPP');
      this.dies();
      reply.resolve();
    });
    process.on('Replace', ({ vpp, reason }) => this.note(`replace ${vpp ?? 'whichever'}: ${reason}`));
    const vpp = base.mailbox<VppConnectionMessage>('vpp');
    vpp.on('Subscribe', () => this.note('subscribe'));
    vpp.on('Transact', ({ transaction, reply }) => {
      if (this.lost !== undefined) {
        this.note(`transact ${this.lost}`);
        return reply.reject(new Stale(this.lost));
      }
      const result = this.does(transaction.operations, transaction.essential === true);
      if (this.slow_ms === 0) reply.resolve(result);
      else base.clock.after(this.slow_ms, () => reply.resolve(result));
    });
    vpp.on('HearRouters', () => undefined);
    vpp.on('Solicit', ({ interface: tag, reply }) => {
      this.note(`solicit behind ${tag}`);
      reply.resolve();
    });
    vpp.on('Read', ({ reply }) => {
      this.readings += 1;
      reply.resolve(this.snapshot());
    });
    vpp.on('ReadNeighbours', ({ interface: tag, reply }) => {
      // Once VPP has the uplinks it is asked now and then.
      if (this.state !== 'vpp') this.note(`neighbours of ${tag}`);
      const resolved = [...this.nudged].filter((address) => this.answering.has(address));
      reply.resolve([...resolved.map((address) => ({ address, mac: macs[1]! })), ...this.met]);
    });
    vpp.on('Introduce', ({ interface: tag, neighbours, reply }) => {
      if (neighbours.length > 0)
        this.note(
          `introduce behind ${tag} ${neighbours.map(({ address, mac }) => `${address} ${mac}`).join(', ')}`,
        );
      if (this.deaf) reply.reject(new Error('VPP does not hear'));
      else if (!this.mute) reply.resolve();
    });
    return uplink(
      {
        process: process.ref,
        vpp: vpp.ref,
        isVppRunning: () => this.running,
        host: this.linux.host,
        hooks: {
          run: async (point) => {
            this.note(`hook ${point}`);
            this.during[point]?.();
            if (point !== this.hanging) return;
            await new Promise<void>((resolve) => {
              this.unhang = resolve;
            });
          },
        },
        cluster: {
          publishNodeAddresses: async (addresses, signal, failing) => {
            this.note(`publish ${Object.values(addresses)}`);
            this.publications.push(signal);
            await this.publishing(failing);
          },
        },
        watchLink: (name, changed) => {
          this.note(`watch ${name}`);
          this.tapChanged = changed;
          return { close: () => this.note(`unwatch ${name}`) };
        },
        nudge: (gateway) => {
          this.nudged.add(gateway);
          this.note(`nudge ${gateway}`);
          this.resolves(gateway);
        },
        report: (report) => {
          this.reports.push(report);
          this.note(`report ${report.state}`);
        },
        reportFaults: (ask) => {
          this.faults = ask;
        },
      },
      { ...settings, ...changes },
    );
  }

  /** Linux learns the neighbours that answer it, where it has the device. */
  private resolves(address: string): void {
    const own = this.linux.network.open();
    const link = own.link('eth0');
    if (link === undefined || link.kind === 'tun' || !this.answering_linux.has(address)) return;
    const family = address.includes(':') ? 6 : 4;
    const neighbour = { link: link.index, family, address, mac: '02:00:00:00:00:91', state: 2 } as const;
    own.apply({ do: 'set_neighbour', neighbour });
    this.linux.network.mutations.pop();
  }

  /** Notes what has been done to Linux since the last time, and then this. */
  note(text: string): void {
    const kinds = this.linux.network.mutations.splice(0).map(({ change }) => change.do);
    for (const [at, kind] of kinds.entries()) if (kinds[at - 1] !== kind) this.effects.push(`linux ${kind}`);
    this.effects.push(text);
  }

  /** The effects since the last call; `short` leaves out what is done to Linux. */
  take(short = true): string[] {
    this.note('');
    return this.effects.splice(0).filter((text) => text !== '' && !(short && text.startsWith('linux ')));
  }

  private does(operations: readonly Operation[], essential: boolean): TransactionResult {
    const tags = new Set(this.objects.flatMap((object) => interfaceMade(object) ?? []));
    const outcomes = operations.map((operation) => {
      const { action, object } = operation;
      const lacks = action === 'add' && interfacesUsed(object).some((tag) => !tags.has(tag));
      if (lacks || this.refuses(operation)) return { operation, error: new Error('VPP says no') };
      const tag = interfaceMade(object);
      if (tag !== undefined && action === 'add') tags.add(tag);
      return { operation };
    });
    const done = outcomes.filter(({ error }) => error === undefined);
    const count = (action: string) => operations.filter((operation) => operation.action === action).length;
    const what = [count('add') > 0 ? 'add' : [], count('remove') > 0 ? 'remove' : []].flat().join(' and ');
    const ups = operations.filter(
      ({ object: o }) => o.kind === 'interface_flag' && o.flag === 'admin_up',
    ).length;
    const only_up = ups === operations.length ? ' up' : '';
    this.note(`transact ${what}${only_up}${essential ? '' : ' not essential'}`);
    for (const { operation } of done) {
      const { action, object } = operation;
      if (action === 'add') this.added.push(keyOf(object));
      if (object.kind !== 'tap') continue;
      if (action === 'add') this.linux.makeTap(object.host_if_name, object.host_mac ?? macs[0]!);
      else this.linux.removeTap(object.host_if_name);
    }
    this.objects = applyOutcomes(this.objects, done);
    const { lost_state } = this;
    this.lost_state = false;
    return { outcomes, interfaces: new Map(), ...(lost_state && { lost_state }) };
  }

  snapshot(): Snapshot {
    const tags = this.objects.flatMap((object) => ('tag' in object ? [object.tag] : []));
    return {
      objects: this.objects,
      unsure: new Set(),
      interfaces: tags.map((tag, sw_if_index) => ({ tag, sw_if_index, name: tag, dev_type: '' })),
    };
  }

  /** VPP's end: its tap is gone, the device stays where it is. */
  dies(): void {
    for (const { interface_name } of this.specs) this.linux.removeTap(interface_name);
    this.linux.network.mutations.length = 0;
    this.objects = [];
    this.nudged.clear();
  }

  /** Of the next VPP. */
  threads: Pick<VppUp, 'workers' | 'numa'> = { workers: 0, numa: [0] };

  async up(adopted = this.objects.length > 0): Promise<void> {
    this.generation += 1;
    const { generation } = this;
    await this.kit.tell({ type: 'VppUp', generation, vpp: `vpp ${generation}`, adopted, ...this.threads });
  }

  private hears(message: EarlyNodeStatus): void {
    this.prepared.push(message);
    if (message.type !== 'NodePrepared' && message.type !== 'UplinksMade') return;
    this.note(message.type === 'NodePrepared' ? 'prepare' : 'police');
    for (const of of this.owners) this.kit.ref.tell({ type: 'InPlace', of, round: message.round });
  }

  /** All owners have theirs in VPP. */
  async inPlace(round: number): Promise<void> {
    for (const of of ['pods', 'services'] as const) await this.kit.tell({ type: 'InPlace', of, round });
    this.owners.add('policies');
  }

  /** VPP is up, and the gateways have answered. */
  async taken(): Promise<void> {
    // They begin anew with the actor.
    const subscriber = this.kit.mailbox<EarlyNodeStatus>('owners').ref;
    await this.kit.tell({ type: 'SubscribeEarly', subscriber });
    await this.up();
    await this.kit.clock.advance(1000);
  }

  async exited(reason = 'SIGSEGV'): Promise<void> {
    this.dies();
    await this.kit.tell({ type: 'VppExited', reason });
  }

  get state() {
    return this.kit.node().gauges.state;
  }

  async subscribe(name: string): Promise<() => Promise<NodeStatus[]>> {
    const mailbox = this.kit.mailbox<NodeStatus>(name);
    await this.kit.tell({ type: 'SubscribeNode', subscriber: mailbox.ref });
    return () => mailbox.messages();
  }

  /** What the node is to hold, with its taps up. */
  get wanted(): VppObject[] {
    const uplinks = this.linux.host
      .taken()!
      .uplinks.map((each) => uplinkOf(each, true, uplinkTag(each.spec.interface_name)));
    const node = { ...inputs, uplinks };
    return desiredNode({ ...node, uplink_entry: nodeUplinkEntry(node) }, true);
  }
}

t.test('a take-over, in the order in which the host suffers least', async (t) => {
  const lab = await Lab.start(t);
  t.same(lab.take(), ['report linux', 'subscribe']);
  await lab.taken();
  t.same(lab.take(false), [
    'hook BEFORE_IF_READ',
    'transact add',
    'prepare',
    ...['nudge 10.0.0.7', 'nudge 10.0.0.9', 'nudge fd00::1'],
    'hook BEFORE_VPP_RUN',
    'linux set_link',
    'linux move_link',
    'linux set_link',
    'transact add',
    'police',
    // With what leads by the uplinks.
    'transact add',
    'linux set_link',
    'linux replace_address',
    'linux set_neighbour',
    'linux append_route',
    'transact add up',
    'solicit behind main-eth0',
    'neighbours of main-eth0',
    'nudge 10.0.0.1',
    'neighbours of main-eth0',
    'hook VPP_RUNNING',
    'neighbours of main-eth0',
    'watch eth0',
    'report vpp',
    'publish 10.0.0.2/24,fd00::2/64',
  ]);
  t.equal(lab.state, 'vpp');
  t.same(
    new Set(lab.objects.map((o) => JSON.stringify(o))),
    new Set(lab.wanted.map((o) => JSON.stringify(o))),
  );
  t.match(lab.reports.at(-1), { state: 'vpp', uplinks: [{ name: 'eth0' }] });
});

t.test('subscribers are told when the node is ready and when it is lost', async (t) => {
  const lab = await Lab.start(t);
  const heard = await lab.subscribe('cni');
  t.same(await heard(), []);
  await lab.taken();
  t.match(await heard(), [
    {
      type: 'NodeReady',
      generation: 1,
      mtu: 9000,
      node: { ip4: '10.0.0.2', ip6: 'fd00::2' },
      main_uplink: 'main-eth0',
      subnets: { ip4: '10.0.0.0/24', ip6: 'fd00::/64' },
      on_link: ['10.0.0.0/24', 'fd00::/64'],
      redirects: [],
      // The ring of the tap: an af_packet takes its buffers as packets come.
      buffers_taken: 1024,
    },
  ]);
  const late = await lab.subscribe('late');
  t.match(await late(), [{ type: 'NodeReady', generation: 1, vpp: 'vpp 1' }]);
  await lab.kit.tell({ type: 'VppDown', generation: 1, reason: 'EOF' });
  t.same(await heard(), [{ type: 'NodeLost', generation: 1, reason: 'connection to VPP lost: EOF' }]);
  await lab.exited();
  t.same(await heard(), [], 'once');
  t.same(
    (await late()).map(({ type }) => type),
    ['NodeLost'],
  );
});

t.test(
  'a lost connection changes nothing on the host, and the running VPP is mended and told as ready again',
  async (t) => {
    const lab = await Lab.start(t);
    await lab.taken();
    const host = lab.linux.network.snapshot();
    lab.take();
    await lab.kit.tell({ type: 'VppDown', generation: 1, reason: 'EOF' });
    t.same(lab.take(false), ['unwatch eth0', 'report linux']);
    const heard = await lab.subscribe('cni');
    lab.objects = lab.objects.filter(({ kind }) => kind !== 'neighbour');
    await lab.up();
    t.same(lab.take(), [
      'transact add',
      'solicit behind main-eth0',
      'watch eth0',
      'report vpp',
      'publish 10.0.0.2/24,fd00::2/64',
    ]);
    t.same(lab.linux.network.snapshot(), host);
    t.match(await heard(), [{ type: 'NodeReady', generation: 2 }]);
    t.same(
      new Set(lab.objects.map((o) => JSON.stringify(o))),
      new Set(lab.wanted.map((o) => JSON.stringify(o))),
    );
  },
);

t.test('what a running VPP refuses to remove is a warning', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  await lab.kit.tell({ type: 'VppDown', generation: 1, reason: 'EOF' });
  lab.objects = [...lab.objects, { kind: 'proxy_arp_range', table_id: 0, low: '10.0.0.9', high: '10.0.0.9' }];
  lab.refuses = ({ action }) => action === 'remove';
  await lab.up();
  t.equal(lab.state, 'vpp');
  t.match(lab.kit.log.lines.at(-1), { level: 'warn', text: /VPP refused to remove .*10\.0\.0\.9/ });
});

t.test('when VPP dies the host gets its network back, and loses it again to the next VPP', async (t) => {
  const lab = await Lab.start(t);
  const before = lab.linux.state();
  for (let life = 1; life <= 3; life++) {
    await lab.taken();
    t.equal(lab.state, 'vpp');
    t.notSame(lab.linux.state(), before);
    const hooks = lab.take().filter((text) => text.startsWith('hook'));
    t.same(hooks, ['hook BEFORE_IF_READ', 'hook BEFORE_VPP_RUN', 'hook VPP_RUNNING']);
    await lab.exited();
    t.same(lab.linux.state(), before, `life ${life}`);
    t.same(
      lab.take(false).filter((text) => !/^linux (set|add|append|replace|move)/.test(text)),
      ['unwatch eth0', 'report linux', 'report linux', 'hook VPP_DONE_OK'],
      'the hook comes when the host is restored',
    );
    t.equal(lab.state, 'linux');
  }
});

/** A fresh process on a host whose uplink a VPP of an earlier life has. */
async function adopted(
  t: Teardown,
  phase: 'broken off' | 'bare tap' | 'complete',
  changes = {},
): Promise<Lab> {
  const first = await Lab.start(t);
  await first.taken();
  const lab = await Lab.start(t, changes);
  const captured = lab.linux.host.capture([specOf()]);
  await lab.linux.host.take(captured);
  lab.linux.makeTap();
  const uplinks = captured.map((each) => uplinkOf(each, true, uplinkTag(each.spec.interface_name)));
  const cluster = { prefixes: inputs.service_prefixes, tap_address: inputs.tap_address };
  if (phase === 'complete') lab.linux.host.taps.dress(uplinks, captured, cluster);
  if (phase !== 'broken off') lab.linux.host.complete(captured);
  lab.objects = first.objects;
  lab.take();
  return lab;
}

t.test(
  'a fresh process resumes what a running VPP has, and touches nothing of VPP or of the host',
  async (t) => {
    const lab = await adopted(t, 'complete');
    const host = lab.linux.network.snapshot();
    await lab.up(true);
    t.same(lab.take(false), [
      'solicit behind main-eth0',
      'watch eth0',
      'report vpp',
      'publish 10.0.0.2/24,fd00::2/64',
    ]);
    t.same(lab.linux.network.snapshot(), host);
  },
);

t.test('a VPP has an entry of source NAT for its uplinks from its start, or never', async (t) => {
  const nat = (lab: Lab) =>
    lab.objects.flatMap((object) => {
      if (object.kind === 'snat_uplinks') return [`uplinks ${object.ip4} ${object.ip6}`];
      if (object.kind === 'snat_addresses') return [`all ${object.ip6}${object.beside ? ' beside' : ''}`];
      return object.kind === 'snat_policy' ? [object.policy] : [];
    });
  const fresh = await Lab.start(t);
  await fresh.up(false);
  await fresh.kit.clock.advance(1000);
  t.strictSame(nat(fresh), ['uplinks undefined fd00::2', 'all fd00::2 beside', 'k8s']);
  const old = await adopted(t, 'complete');
  const others = old.objects.filter(({ kind }) => !kind.startsWith('snat_'));
  old.objects = [...others, { kind: 'snat_addresses', ip4: '10.0.0.2', ip6: 'fd00::2' }];
  await old.up(true);
  t.strictSame(nat(old).sort(), ['all fd00::2', 'if_pfx'], 'of a release before');
  const own = { ip4: '10.0.0.2', ip6: 'fd00::2', beside: true } as const;
  old.objects = [...others, { kind: 'snat_uplinks', ip6: 'fd00::9' }, { kind: 'snat_addresses', ...own }];
  await old.up(true);
  t.strictSame(nat(old).sort(), ['all fd00::2 beside', 'k8s', 'uplinks undefined fd00::9'], 'as it was made');
});

t.test('a VPP has what others build on, and theirs, before it gets its uplinks', async (t) => {
  const lab = await Lab.start(t);
  lab.owners.clear();
  await lab.up(false);
  await lab.kit.clock.advance(1000);
  const facts = { generation: 1, vpp: 'vpp 1', node: { ip4: '10.0.0.2', ip6: 'fd00::2' }, mtu: 9000 };
  t.match(lab.prepared.splice(0), [{ type: 'NodePrepared', round: 1, main_uplink: 'main-eth0', ...facts }]);
  const kinds = new Set(lab.objects.map(({ kind }) => kind));
  for (const kind of ['snat_policy', 'table', 'punt_redirect'] as const) t.ok(kinds.has(kind), kind);
  t.notOk(lab.linux.host.isChanged(), 'the host has its network');
  t.notOk(kinds.has('tap'));

  const inPlace = (of: InPlace['of'], round: number) => lab.kit.tell({ type: 'InPlace', of, round });
  await inPlace('pods', 1);
  await inPlace('services', 0);
  t.notOk(lab.linux.host.isChanged(), 'said of another time');
  await inPlace('services', 1);
  await lab.kit.clock.advance(1000);
  t.equal(lab.state, 'vpp');
  t.match(lab.prepared.splice(0), [
    { type: 'UplinksMade', generation: 1, round: 2 },
    { type: 'NodeReady', ...facts },
  ]);
  t.equal(new Set(lab.added).size, lab.added.length, 'nothing is given twice');
  t.strictSame(new Set(lab.objects.map(keyOf)), new Set(lab.wanted.map(keyOf)));
});

t.test('who prepares VPP is not waited for for ever', async (t) => {
  const lab = await Lab.start(t);
  lab.owners.delete('services');
  await lab.up(false);
  await lab.kit.clock.advance(4900);
  t.notOk(lab.linux.host.isChanged());
  await lab.kit.clock.advance(1100);
  t.equal(lab.state, 'vpp');
  t.match(lab.kit.log.lines.at(-1), { level: 'warn', text: /not had all services within 5000 ms/ });
});

t.test('nobody is waited for who is not there', async (t) => {
  const lab = await Lab.start(t, { prepared_by: ['pods'] });
  lab.owners.delete('services');
  await lab.taken();
  t.equal(lab.state, 'vpp');
});

t.test('pools that are told meanwhile are in VPP before its uplinks, and told on', async (t) => {
  const lab = await Lab.start(t);
  lab.owners.clear();
  await lab.up(false);
  await lab.kit.clock.advance(1000);
  const pools = { prefixes: ['10.2.0.0/16'], nat_outgoing: ['10.2.0.0/16'] };
  lab.kit.ref.tellUrgent({
    type: 'PodPrefixes',
    pods: { ...pools, nodes: ['10.9.0.2/32'], encapsulated: false },
  });
  await lab.kit.clock.advance(0);
  t.match(lab.prepared, [
    { type: 'NodePrepared', round: 1 },
    { type: 'NodePrepared', round: 2, pools },
  ]);
  t.notOk('pools' in lab.prepared[0]!);
  t.ok(lab.added.includes('snat_exclude:10.2.0.0/16'), 'where pods keep their address is known');
  t.notOk(lab.linux.host.isChanged());
  await lab.inPlace(1);
  t.notOk(lab.linux.host.isChanged(), 'of what was told before');
  await lab.inPlace(2);
  await lab.kit.clock.advance(1000);
  t.equal(lab.state, 'vpp');
  t.match(lab.prepared.at(-1), { type: 'NodeReady', pools });
});

t.test('uplinks are up when VPP has their policies, or has taken too long', async (t) => {
  const lab = await Lab.start(t);
  lab.owners.delete('policies');
  const isUp = () => lab.objects.some((object) => keyOf(object) === 'interface_flag:main-eth0/admin_up');
  await lab.up(false);
  await lab.kit.clock.advance(400);
  t.match(lab.prepared.at(-1), { type: 'UplinksMade', generation: 1, round: 2 });
  t.ok(
    lab.objects.some(({ kind }) => kind === 'af_packet'),
    'they are there',
  );
  t.notOk(isUp());
  await lab.kit.tell({ type: 'InPlace', of: 'policies', round: 1 });
  t.notOk(isUp(), 'said of another time');
  await lab.kit.tell({ type: 'InPlace', of: 'policies', round: 2 });
  t.ok(isUp());
  await lab.kit.clock.advance(1000);
  t.equal(lab.state, 'vpp');
  await lab.exited();
  await lab.up(false);
  await lab.kit.clock.advance(1000);
  t.equal(lab.state, 'vpp', 'nobody says it');
  t.match(lab.kit.log.lines.at(-1), { level: 'warn', text: /not had all policies within 500 ms/ });
});

t.test('what the host has changed while VPP was prepared is taken as it is by then', async (t) => {
  const lab = await Lab.start(t);
  lab.owners.clear();
  await lab.up(false);
  await lab.kit.clock.advance(1000);
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  const address = { link, family: 4, prefix: '10.0.0.77/24', scope: 0, flags: 0 } as const;
  own.apply({ do: 'replace_address', address });
  lab.owners.add('policies');
  await lab.inPlace(1);
  await lab.kit.clock.advance(1000);
  t.equal(lab.state, 'vpp');
  t.ok(lab.added.includes('interface_address:main-eth0/10.0.0.77/24'));
  t.strictSame(new Set(lab.objects.map(keyOf)), new Set(lab.wanted.map(keyOf)));
});

t.test(
  'what a service of the host has changed since the uplink was surveyed is taken as it is by then',
  async (t) => {
    const lab = await Lab.start(t);
    const own = lab.linux.network.open();
    const link = own.link('eth0')!.index;
    const moved = { link, family: 4, prefix: '10.0.0.77/24', scope: 0, flags: 0 } as const;
    lab.during.BEFORE_VPP_RUN = () => {
      const stale = own.addresses(link).find(({ prefix }) => prefix === '10.0.0.2/24')!;
      own.apply({ do: 'delete_address', address: stale });
      own.apply({ do: 'add_address', address: moved });
    };
    await lab.taken();
    t.equal(lab.state, 'vpp');
    t.ok(lab.added.includes('interface_address:main-eth0/10.0.0.77/24'));
    t.notOk(lab.added.includes('interface_address:main-eth0/10.0.0.2/24'));
    t.ok(lab.take().includes('neighbours of main-eth0'), 'its gateways had answered, and have to answer VPP');
    t.strictSame(lab.linux.host.taken()!.uplinks[0]!.answering_gateways, ['10.0.0.1', 'fd00::1']);
    await lab.exited();
    const back = own.addresses(own.link('eth0')!.index).map(({ prefix }) => prefix);
    t.ok(back.includes('10.0.0.77/24'));
    t.notOk(back.includes('10.0.0.2/24'));
  },
);

t.test('a service of the host that is in the middle of a change has its time', async (t) => {
  const lab = await Lab.start(t);
  const before = lab.linux.state();
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  const routes = own.routes({ link }).filter(({ prefix }) => prefix.endsWith('/0'));
  lab.during.BEFORE_VPP_RUN = () => {
    for (const route of routes) own.apply({ do: 'delete_route', route });
  };
  await lab.taken();
  t.equal(own.link('eth0')?.index, link, 'Linux has the uplink');
  for (const route of routes) own.apply({ do: 'add_route', route });
  await lab.kit.clock.advance(1000);
  t.equal(lab.state, 'vpp');
  await lab.exited();
  t.same(lab.linux.state(), before);
});

t.test('an uplink that a service of the host takes away is not taken as it was', async (t) => {
  const lab = await Lab.start(t);
  const before = lab.linux.state();
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  lab.during.BEFORE_VPP_RUN = () => own.apply({ do: 'set_link', link, name: 'eth9' });
  await lab.up();
  await lab.kit.clock.advance(settings.services_ms + 500);
  t.match(lab.reports.at(-1), { state: 'failed', reason: /eth0: Linux has no such interface.*eth9/ });
  lab.during.BEFORE_VPP_RUN = () => undefined;
  own.apply({ do: 'set_link', link, name: 'eth0' });
  t.same(lab.linux.state(), before);
  await lab.kit.clock.advance(3000);
  t.equal(lab.state, 'vpp');
});

t.test('a host that lacks a way out when its uplink is surveyed has a moment to get it again', async (t) => {
  const lab = await Lab.start(t, { survey_ms: 500 });
  for (const gateway of ['10.0.0.7', '10.0.0.9']) {
    lab.answering_linux.add(gateway);
    lab.answering.add(gateway);
  }
  const before = lab.linux.state();
  lab.owners.clear();
  await lab.up(false);
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  const isDefault = ({ family, prefix }: { family: 4 | 6; prefix: string }) =>
    family === 4 && prefix.endsWith('/0');
  const [route] = own.routes({ link }).filter(isDefault);
  own.apply({ do: 'delete_route', route: route! });
  lab.owners.add('policies');
  await lab.inPlace(1);
  await lab.kit.clock.advance(200);
  t.notOk(lab.linux.host.isChanged(), 'it is not taken so');
  own.apply({ do: 'add_route', route: route! });
  await lab.kit.clock.advance(1000);
  t.equal(lab.state, 'vpp');
  await lab.exited();
  t.same(lab.linux.state(), before);
});

/** As a network manager does that leases anew. Answers what it is to give back. */
function loseIpv4(own: NetworkNamespace, link: number) {
  const routes = own.routes({ link }).filter(({ family, protocol }) => family === 4 && protocol !== 2);
  for (const route of routes) own.apply({ do: 'delete_route', route });
  const addresses = own.addresses(link).filter(({ family }) => family === 4);
  for (const address of addresses) own.apply({ do: 'delete_address', address });
  return { routes, addresses };
}

t.test('a host whose services lease anew behind VPP’s death is taken when it is whole again', async (t) => {
  for (const life of ['one process', 'the next process']) {
    const lab = await Lab.start(t);
    await lab.taken();
    const published = lab.effects.filter((text) => text.startsWith('publish')).at(-1);
    if (life === 'the next process') await lab.kit.crash(new Error('defect'));
    await lab.kit.clock.advance(100);
    const subscriber = lab.kit.mailbox<EarlyNodeStatus>('owners').ref;
    await lab.kit.tell({ type: 'SubscribeEarly', subscriber });
    await lab.exited();
    const before = lab.linux.state();
    const own = lab.linux.network.open();
    const link = own.link('eth0')!.index;
    const lost = loseIpv4(own, link);
    lab.take();
    await lab.up();
    await lab.kit.clock.advance(3000);
    t.notOk(lab.linux.host.isChanged(), `${life}: IPv6 alone is not what it had`);
    for (const address of lost.addresses) own.apply({ do: 'add_address', address });
    for (const route of lost.routes) own.apply({ do: 'add_route', route });
    await lab.kit.clock.advance(1000);
    t.equal(lab.state, 'vpp', life);
    t.ok(lab.take().includes(published!), 'it has the addresses that it had');
    await lab.exited();
    t.same(lab.linux.state(), before);
  }
});

t.test('what services of the host do not give back is waited for once, and costs no attempt', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  await lab.exited();
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  loseIpv4(own, link);
  await lab.up();
  await lab.kit.clock.advance(settings.services_ms + 1000);
  t.equal(lab.state, 'vpp', 'IPv6 alone is what it has by now');
  await lab.exited();
  await lab.taken();
  t.equal(lab.state, 'vpp', 'and by then what it had');

  await lab.exited();
  lab.during.BEFORE_VPP_RUN = () => {
    for (const address of own.addresses(link)) own.apply({ do: 'delete_address', address });
  };
  await lab.up();
  for (let tries = 0; tries < 6; tries++) await lab.kit.clock.advance(settings.services_ms + 30_000);
  t.match(lab.reports.at(-1), { state: 'failed' });
  t.notMatch(lab.reports.at(-1)?.reason, /tried again in/, 'it has lost nothing by an attempt');
});

t.test(
  'a VPP that cannot be prepared has cost the host nothing, and is tried again as long as it takes',
  async (t) => {
    const lab = await Lab.start(t);
    lab.refuses = ({ action, object }) => action === 'add' && object.kind === 'snat_addresses';
    const before = lab.linux.state();
    await lab.up();
    t.ok((await tries(lab)).length > 10);
    t.match(lab.reports.at(-1), { state: 'failed', reason: /refused to add .*snat_addresses/ });
    t.same(lab.linux.state(), before);
    lab.refuses = () => false;
    await lab.kit.clock.advance(6000);
    t.equal(lab.state, 'vpp');
  },
);

t.test(
  'what is told of nodes meanwhile is in VPP, and nobody is told anew who has nothing of it',
  async (t) => {
    const lab = await Lab.start(t);
    lab.owners.clear();
    await lab.up(false);
    await lab.kit.clock.advance(1000);
    const pools = { prefixes: ['10.2.0.0/16'], nat_outgoing: [], encapsulated: false };
    const tell = async (nodes: readonly string[]) => {
      lab.kit.ref.tellUrgent({ type: 'PodPrefixes', pods: { ...pools, nodes } });
      await lab.kit.clock.advance(0);
    };
    await tell(['10.9.0.2/32']);
    t.equal(lab.prepared.length, 2, 'of pools');
    await tell(['10.9.0.2/32', '10.9.0.3/32']);
    t.equal(lab.prepared.length, 2);
    t.ok(lab.added.includes('snat_exclude:10.9.0.3/32'));
  },
);

t.test(
  'what an earlier life has excluded from source NAT stays until pools are known, whatever it had of uplinks',
  async (t) => {
    const lab = await Lab.start(t);
    lab.objects = [{ kind: 'snat_exclude', prefix: '10.1.0.0/16' }];
    await lab.up(true);
    await lab.kit.clock.advance(1000);
    t.equal(lab.state, 'vpp');
    t.ok(lab.objects.some((object) => keyOf(object) === 'snat_exclude:10.1.0.0/16'));
  },
);

t.test('a VPP that ends while it is prepared', async (t) => {
  const lab = await Lab.start(t);
  lab.owners.clear();
  const late = await lab.subscribe('bgp');
  await lab.up(false);
  await lab.kit.clock.advance(1000);
  await lab.exited();
  t.match(lab.prepared.splice(0), [
    { type: 'NodePrepared', generation: 1 },
    { type: 'NodeLost', generation: 1 },
  ]);
  t.strictSame(await late(), [], 'of which others have not heard');
  t.notOk(lab.linux.host.isChanged());
  await lab.kit.clock.advance(10_000);
  t.notOk(lab.linux.host.isChanged(), 'and nothing is taken for it');
  for (const owner of ['pods', 'services', 'policies'] as const) lab.owners.add(owner);
  await lab.taken();
  t.equal(lab.state, 'vpp');
  t.match(lab.prepared, [
    { type: 'NodePrepared', generation: 2 },
    { type: 'UplinksMade', generation: 2 },
    { type: 'NodeReady', generation: 2 },
  ]);
});

t.test(
  'whatever ends a VPP that is prepared, or whose uplinks are not policed yet, Linux has the host',
  async (t) => {
    const ends: Record<string, (lab: Lab) => Promise<unknown>> = {
      'the death of VPP': (lab) => lab.exited(),
      'a stop': (lab) => lab.kit.system.stopChild('uplink'),
    };
    const waits: Record<string, readonly InPlace['of'][]> = {
      prepare: [],
      police: ['pods', 'services'],
    };
    for (const [what, end] of Object.entries(ends))
      for (const [step, owners] of Object.entries(waits)) {
        const lab = await Lab.start(t);
        const before = lab.linux.state();
        lab.owners.clear();
        for (const owner of owners) lab.owners.add(owner);
        await lab.up();
        await lab.kit.clock.advance(300);
        t.equal(lab.take().at(-1), step);
        t.equal(lab.linux.host.isChanged(), step === 'police');
        await end(lab);
        await lab.kit.clock.advance(1000);
        t.same(lab.linux.state(), before, `${what} at ${step}`);
        t.notOk(lab.linux.host.isChanged());
      }
  },
);

t.test('a take-over that fails and is tried again has VPP prepared again', async (t) => {
  const lab = await Lab.start(t);
  lab.refuses = ({ object }) => object.kind === 'tap';
  await lab.taken();
  t.equal(lab.state, 'failed');
  lab.refuses = () => false;
  await lab.kit.clock.advance(3000);
  t.equal(lab.state, 'vpp');
  t.match(lab.prepared, [
    { type: 'NodePrepared', round: 1 },
    { type: 'NodePrepared', round: 2 },
    { type: 'UplinksMade', round: 3 },
    { type: 'NodeReady', generation: 1 },
  ]);
});

t.test('who subscribes early hears how it stands', async (t) => {
  const lab = await Lab.start(t);
  lab.owners.clear();
  const early = lab.kit.mailbox<EarlyNodeStatus>('latecomer');
  const told = async () => {
    await lab.kit.tell({ type: 'SubscribeEarly', subscriber: early.ref });
    return early.messages();
  };
  t.strictSame(await told(), []);
  await lab.up(false);
  await lab.kit.clock.advance(1000);
  await early.messages();
  t.match(await told(), [{ type: 'NodePrepared' }]);
  await lab.kit.clock.advance(6000);
  await early.messages();
  t.match(await told(), [{ type: 'NodeReady' }]);
});

t.test(
  'what goes to pods keeps its source: told, changed, and as before until pools are known',
  async (t) => {
    const lab = await adopted(t, 'complete');
    lab.objects = [...lab.objects, { kind: 'snat_exclude', prefix: '10.1.0.0/16' }];
    const excluded = () =>
      lab.objects.flatMap((object) =>
        object.kind === 'snat_exclude' && object.prefix.startsWith('10.') ? object.prefix : [],
      );
    const heard = await lab.subscribe('cni');
    await lab.up(true);
    t.ok(excluded().includes('10.1.0.0/16'), 'of an earlier life');
    t.notOk('pools' in (await heard())[0]!, 'and pods are told of none');
    const pools = { prefixes: ['10.2.0.0/16', '10.3.0.0/16'], nat_outgoing: ['10.3.0.0/16'] };
    lab.kit.ref.tellUrgent({ type: 'PodPrefixes', pods: { ...pools, encapsulated: false } });
    await lab.kit.clock.advance(1000);
    t.ok(excluded().includes('10.1.0.0/16'), 'nodes are not known yet');
    t.strictSame(await heard(), []);
    lab.kit.ref.tellUrgent({
      type: 'PodPrefixes',
      pods: { ...pools, nodes: ['10.9.0.2/32'], encapsulated: false },
    });
    await lab.kit.clock.advance(1000);
    t.notOk(excluded().includes('10.1.0.0/16'));
    t.ok([...pools.prefixes, '10.9.0.2/32'].every((prefix) => excluded().includes(prefix)));
    t.match(await heard(), [{ type: 'NodeReady', generation: 1, pools }]);
    const gone = { ...pools, prefixes: ['10.3.0.0/16'] };
    lab.kit.ref.tellUrgent({ type: 'PodPrefixes', pods: { ...gone, nodes: [], encapsulated: false } });
    await lab.kit.clock.advance(1000);
    t.notOk(excluded().some((prefix) => ['10.2.0.0/16', '10.9.0.2/32'].includes(prefix)));
    t.match(await heard(), [{ type: 'NodeReady', pools: gone }]);
  },
);

t.test(
  'what comes by uplinks for own pods keeps its source while a next life has not read the blocks',
  async (t) => {
    const lab = await adopted(t, 'complete');
    const exclude = (prefix: string): VppObject => ({ kind: 'snat_exclude', prefix, of: 'uplinks' });
    const earlier = ['::/2', '4000::/2', '8000::/1', 'fd44::2:0/122'];
    lab.objects = [
      ...lab.objects,
      ...earlier.map(exclude),
      { kind: 'interface_flag', interface: 'main-eth0', flag: 'snat_include_ip6' },
    ];
    const told = () =>
      lab.objects.flatMap((object) =>
        object.kind === 'snat_exclude' && object.of === 'uplinks' ? object.prefix : [],
      );
    await lab.up(true);
    t.strictSame(told(), earlier, 'nothing is known');
    const pods = { prefixes: ['fd44::/64'], nat_outgoing: [], nodes: ['fd00::11/128'], encapsulated: false };
    lab.kit.ref.tellUrgent({ type: 'PodPrefixes', pods });
    await lab.kit.clock.advance(1000);
    t.strictSame(told(), earlier, 'the blocks are not');
    lab.kit.ref.tellUrgent({
      type: 'PodPrefixes',
      pods: { ...pods, own: ['fd44::2:0/122', 'fd44::3:0/122'] },
    });
    await lab.kit.clock.advance(1000);
    t.ok(['fd44::2:0/122', 'fd44::3:0/122'].every((prefix) => told().includes(prefix)));
    t.notOk(told().includes('8000::/1'), 'and what goes to pods of other nodes gets the address of this one');
  },
);

t.test('a disk that takes nothing does not cost a running VPP its uplinks', async (t) => {
  const lab = await adopted(t, 'complete');
  lab.linux.files.full = true;
  await lab.up(true);
  t.equal(lab.state, 'vpp');
  t.match(lab.kit.log.lines.at(-1), { level: 'warn', text: /undo journal.*no space left/ });
});

t.test('a tap that a dying process has left bare is dressed', async (t) => {
  const lab = await adopted(t, 'bare tap');
  await lab.up(true);
  t.same(lab.take(false), [
    'linux set_link',
    'linux replace_address',
    'linux set_neighbour',
    'linux append_route',
    'solicit behind main-eth0',
    'watch eth0',
    'report vpp',
    'publish 10.0.0.2/24,fd00::2/64',
  ]);
});

t.test('a take-over that broke off is undone and begun anew', async (t) => {
  const lab = await adopted(t, 'broken off');
  await lab.up(true);
  await lab.kit.clock.advance(5000);
  const effects = lab.take();
  t.same(effects.slice(0, 2), ['transact remove', 'hook BEFORE_IF_READ']);
  t.equal(lab.state, 'vpp');
  t.equal(lab.linux.restarted().taken()?.phase, 'taken');
});

t.test('with another configuration the uplinks are given back and taken over anew', async (t) => {
  const lab = await adopted(t, 'complete', { specs: [specOf({ mtu: 1400 })] });
  await lab.up(true);
  await lab.kit.clock.advance(5000);
  t.match(lab.take(), ['transact remove', 'hook BEFORE_IF_READ']);
  t.equal(lab.state, 'vpp');
  t.match(
    lab.objects.find(({ kind }) => kind === 'tap'),
    { host_mtu: 1400 },
  );
});

t.test('what an earlier life has changed is undone at once when there is no VPP', async (t) => {
  let before: object | undefined;
  const lab = await Lab.start(t, {}, (each) => {
    each.running = false;
    before = each.linux.state();
    each.linux.host.take(each.linux.host.capture([specOf()]));
  });
  t.same(lab.linux.state(), before);
  t.ok(lab.take().includes('hook VPP_DONE_OK'));
});

t.test(
  'an adopted VPP without our uplinks gets them anew, after what is left of an earlier attempt is gone',
  async (t) => {
    const lab = await Lab.start(t);
    const before = lab.linux.state();
    lab.linux.host.take(lab.linux.host.capture([specOf()]));
    lab.objects = [
      { kind: 'table', family: 4, table_id: 1_048_576, name: 'host-tap-eth0-ip4', multicast: true },
      { kind: 'snat_addresses', ip4: '10.0.0.2' },
    ];
    lab.take();
    await lab.up(true);
    await lab.kit.clock.advance(1000);
    const effects = lab.take();
    t.same(effects.slice(0, 2), ['transact remove', 'hook BEFORE_IF_READ']);
    t.equal(lab.state, 'vpp');
    await lab.exited();
    t.same(lab.linux.state(), before);
  },
);

const failures: Record<string, { prepare: (lab: Lab) => void; reason: RegExp; untouched?: true }> = {
  'the uplink is not there': {
    prepare: (lab) => {
      const own = lab.linux.network.open();
      own.apply({ do: 'set_link', link: own.link('eth0')!.index, name: 'eth9' });
    },
    reason: /eth0: Linux has no such interface.*eth9/,
    untouched: true,
  },
  'the disk is full': {
    prepare: (lab) => {
      lab.linux.files.full = true;
    },
    reason: /undo journal.*no space left/,
    untouched: true,
  },
  'Linux does not let the device go': { prepare: (lab) => lab.linux.network.failChange(2), reason: /EIO/ },
  'Linux refuses an address of the tap': {
    prepare: (lab) => {
      lab.linux.network.refuses = (change) =>
        change.do === 'replace_address' && change.address.prefix === '10.0.0.2/24' ? 'EIO' : undefined;
    },
    reason: /Linux refused replace_address .*EIO/,
  },
  'VPP refuses the device': {
    prepare: (lab) => {
      lab.refuses = ({ action, object }) => action === 'add' && object.kind === 'af_packet';
    },
    reason: /VPP refused to add .*af_packet.*VPP says no/,
  },
  'VPP refuses the tap': {
    prepare: (lab) => {
      lab.refuses = ({ action, object }) => action === 'add' && object.kind === 'tap';
    },
    reason: /VPP refused to add .*"tap"/,
  },
  'the tap cannot be raised': {
    prepare: (lab) => {
      lab.refuses = ({ action, object }) =>
        action === 'add' &&
        object.kind === 'interface_flag' &&
        object.interface === 'host-eth0' &&
        object.flag === 'admin_up';
    },
    reason: /VPP refused to add .*admin_up/,
  },
  'a gateway does not answer': {
    prepare: (lab) => {
      lab.answering.delete('10.0.0.1');
    },
    reason: /gateway 10\.0\.0\.1 answered Linux on eth0 and does not answer VPP; check/,
  },
};

for (const [name, { prepare, reason, untouched }] of Object.entries(failures)) {
  t.test(
    `${name}: the host is as it was, VPP holds nothing of the uplink, and hooks and operator are told`,
    async (t) => {
      const lab = await Lab.start(t, { failures_max: 1 });
      prepare(lab);
      const before = lab.linux.state();
      const heard = await lab.subscribe('cni');
      lab.take();
      await lab.up();
      // Less than it takes to try again, where that is done.
      await lab.kit.clock.advance(name === 'the uplink is not there' ? 500 : 10_000);
      t.equal(lab.state, 'failed');
      t.same(lab.linux.state(), before);
      t.match(lab.reports.at(-1), { state: 'failed', reason });
      t.same(
        lab.objects
          .filter((object) => 'tag' in object || 'interface' in object)
          .map(keyOf)
          .filter((key) => key !== 'loopback:node-snat'),
        [],
      );
      const effects = lab.take(false);
      t.same(
        effects.filter((text) => text.startsWith('hook')),
        [
          'hook BEFORE_IF_READ',
          ...(name === 'the uplink is not there' ? [] : ['hook BEFORE_VPP_RUN']),

          ...(untouched ? [] : ['hook VPP_ERRORED']),
        ],
      );
      if (untouched)
        t.notOk(
          effects.some((text) => text.startsWith('linux ')),
          'nothing was touched at all',
        );
      t.same(await heard(), []);
      t.match(
        lab.kit.log.lines.find(({ level }) => level === 'error'),
        { text: reason },
      );
      t.notOk(lab.linux.host.isChanged());
    },
  );
}

t.test('what stays in VPP over a failed take-over is not made a second time by the next one', async (t) => {
  const lab = await Lab.start(t);
  const made: string[] = [];
  lab.refuses = ({ action, object }) => {
    if (action === 'add') made.push(keyOf(object));
    return false;
  };
  lab.answering.delete('10.0.0.1');
  await lab.up();
  await lab.kit.clock.advance(3000);
  lab.answering.add('10.0.0.1');
  await lab.kit.clock.advance(6000);
  t.equal(lab.state, 'vpp');
  t.equal(made.filter((key) => key === 'af_packet:main-eth0').length, 2);
  t.equal(made.filter((key) => key === 'loopback:node-snat').length, 1);
  t.same(new Set(lab.objects.map(keyOf)), new Set(lab.wanted.map(keyOf)));
});

t.test('what the node can do without is a warning', async (t) => {
  const lab = await Lab.start(t);
  const dispensable = new Set(['interface_rx_mode', 'rx_placement', 'ttl_fixup']);
  lab.refuses = ({ object }) => dispensable.has(object.kind);
  await lab.taken();
  t.equal(lab.state, 'vpp');
  const warned = lab.kit.log.lines.filter(({ level }) => level === 'warn');
  t.equal(warned.length, 4);
  t.match(warned[0]?.text, /VPP refused to add .*: VPP says no/);
});

t.test(
  'a network of which VPP refuses something costs nobody else anything, and nobody is told of it',
  async (t) => {
    const networks = [1, 2].map((vni) => ({ name: `of ${vni}`, vni, physical_network: '' }));
    const lab = await Lab.start(t);
    const heard = await lab.subscribe('cni');
    lab.kit.ref.tellUrgent({ type: 'Networks', networks });
    lab.refuses = ({ action, object }) =>
      action === 'add' && object.kind === 'table' && object.name.startsWith('network-2-');
    await lab.taken();
    t.equal(lab.state, 'vpp');
    const ready = (await heard()).find(({ type }) => type === 'NodeReady') as NodeReady;
    t.strictSame(
      ready.networks?.map(({ name }) => name),
      ['of 1'],
    );
    t.match(
      lab.kit.log.lines.filter(({ level }) => level === 'warn')[0]?.text,
      /VPP refused to add .*network-2-/,
    );
  },
);

t.test('gateways are nudged until they answer, within the limit', async (t) => {
  const lab = await Lab.start(t);
  lab.answering.clear();
  await lab.up();
  await lab.kit.clock.advance(1500);
  t.not(lab.state, 'vpp');
  lab.take();
  lab.answering.add('10.0.0.1');
  await lab.kit.clock.advance(50);
  t.same(lab.take(), ['neighbours of main-eth0', 'nudge fd00::1'], 'one that has answered is left alone');
  lab.answering.add('fd00::1');
  await lab.kit.clock.advance(50);
  t.equal(lab.state, 'vpp');
});

/** What takes a minute needs few of them. */
const seldom = { retry_ms: 15_000, retry_max_ms: 15_000 };

t.test('a gateway that has not answered VPP is not passed over because it is silent now', async (t) => {
  const lab = await Lab.start(t, seldom);
  lab.answering.delete('10.0.0.1');
  await lab.up();
  await lab.kit.clock.advance(2100);
  t.match(lab.reports.at(-1), { reason: /10\.0\.0\.1 answered Linux on eth0 and does not answer VPP/ });
  for (const gateway of ['10.0.0.1', 'fd00::1']) lab.answering_linux.delete(gateway);
  lab.take();
  const before = lab.linux.state();
  for (let tries = 0; tries < 9; tries++) await lab.kit.clock.advance(seldom.retry_ms);
  t.match(lab.reports.at(-1), { reason: /has not answered VPP before, and does not answer Linux now/ });
  t.same(lab.linux.state(), before);
  t.notOk(
    lab.take().some((text) => text.startsWith('hook BEFORE_VPP_RUN')),
    'nothing was touched, however often it was tried',
  );
  for (const gateway of ['10.0.0.1', 'fd00::1']) lab.answering_linux.add(gateway);
  lab.answering.add('10.0.0.1');
  for (let tries = 0; tries < 4 && lab.state !== 'vpp'; tries++) await lab.kit.clock.advance(seldom.retry_ms);
  t.equal(lab.state, 'vpp');
});

t.test(
  'a gateway that answers nobody is not waited for where another shows that VPP has the uplink',
  async (t) => {
    const lab = await Lab.start(t, seldom);
    // Linux has known it from long ago.
    lab.answering.delete('10.0.0.1');
    await lab.up();
    await lab.kit.clock.advance(2100);
    t.match(lab.reports.at(-1), { reason: /10\.0\.0\.1 answered Linux on eth0 and does not answer VPP/ });
    lab.answering_linux.delete('10.0.0.1');
    for (let tries = 0; tries < 3; tries++) await lab.kit.clock.advance(seldom.retry_ms);
    t.not(lab.state, 'vpp', 'not at once: a card or a switch may take its time');
    for (let tries = 0; tries < 4 && lab.state !== 'vpp'; tries++)
      await lab.kit.clock.advance(seldom.retry_ms);
    t.equal(lab.state, 'vpp');
  },
);

t.test('a host that the hook has cost its ways out gets its network back', async (t) => {
  const lab = await Lab.start(t, { failures_max: 1 });
  const before = lab.linux.state();
  const own = lab.linux.network.open();
  lab.hanging = 'VPP_RUNNING';
  await lab.taken();
  const tap = own.link('eth0')!.index;
  const [route] = own.routes({ link: tap }).filter(({ prefix }) => prefix === '::/0');
  own.apply({ do: 'delete_route', route: route! });
  lab.unhang();
  await lab.kit.clock.advance(settings.services_ms - 100);
  t.not(lab.state, 'failed', 'a service takes its time');
  await lab.kit.clock.advance(200);
  t.equal(lab.state, 'failed');
  t.match(lab.reports.at(-1), { reason: /VPP_RUNNING has cost the host its IPv6 default route on the tap/ });
  t.same(lab.linux.state(), before);
});

t.test('a host that has its ways out again a while after the hook keeps VPP', async (t) => {
  const lab = await Lab.start(t);
  const own = lab.linux.network.open();
  lab.hanging = 'VPP_RUNNING';
  await lab.taken();
  const tap = own.link('eth0')!.index;
  const global = own.addresses(tap).filter(({ prefix }) => !prefix.startsWith('fe80'));
  const routes = own.routes({ link: tap }).filter(({ next_hops }) => next_hops[0]?.gateway !== undefined);
  for (const address of global) own.apply({ do: 'delete_address', address });
  lab.unhang();
  await lab.kit.clock.advance(3000);
  t.equal(lab.state, 'linux', 'it is waited for');
  for (const address of global) own.apply({ do: 'replace_address', address });
  for (const route of routes) own.apply({ do: 'replace_route', route });
  await lab.kit.clock.advance(1000);
  t.equal(lab.state, 'vpp');
});

t.test('what is ours on the tap is mended when the host has rebuilt the rest as it was', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  await lab.kit.clock.advance(1000);
  const own = lab.linux.network.open();
  const tap = own.link('eth0')!.index;
  const ours = () => own.routes({ link: tap }).filter(({ protocol }) => protocol === own_route_protocol);
  const there = ours();
  t.ok(there.length > 0);
  for (const route of there) own.apply({ do: 'delete_route', route });
  // Those of IPv4 somebody had set on the uplink.
  for (const neighbour of own.neighbours(tap).filter(({ family }) => family === 6))
    own.apply({ do: 'delete_neighbour', neighbour });
  lab.take();
  lab.tapChanged!();
  await lab.kit.clock.advance(1000);
  t.same(ours(), there);
  t.ok(own.neighbours(tap).length > 0);
  t.same(lab.take(), [], 'VPP has nothing to learn from it');
  lab.tapChanged!();
  await lab.kit.clock.advance(1000);
  t.same(lab.take(false), [], 'and that is the end of it');
});

t.test(
  'the host reaches pods by the tap: told before or after, changed, and gone with the pool',
  async (t) => {
    const lab = await Lab.start(t);
    const routes = () =>
      lab.linux.network
        .open()
        .routes()
        .filter(isClusterRoute)
        .map(({ prefix, metrics }) => `${prefix} ${metrics?.mtu}`);
    const tell = async (prefixes: readonly string[], encapsulated: boolean) => {
      lab.kit.ref.tellUrgent({
        type: 'PodPrefixes',
        pods: { prefixes, nat_outgoing: [], nodes: [], encapsulated },
      });
      await lab.kit.clock.advance(1000);
    };
    const tellServices = async (...services: string[]) => {
      lab.kit.ref.tellUrgent({ type: 'ServicePrefixes', prefixes: services });
      await lab.kit.clock.advance(1000);
    };
    await tell(['10.1.0.0/16'], false);
    await tellServices('10.112.0.0/16');
    t.same(routes(), []);
    await lab.taken();
    t.ok(routes().includes('10.1.0.0/16 9000'), 'with the tap itself');
    t.ok(routes().includes('10.112.0.0/16 8940'));
    await tellServices('10.113.0.0/16');
    t.ok(routes().includes('10.113.0.0/16 8940'));
    t.notOk(
      routes().some((route) => route.startsWith('10.112.')),
      'a ServiceCIDR may go',
    );
    await tellServices();
    await tell(['10.1.0.0/16', '10.2.0.0/16'], true);
    t.ok(routes().includes('10.1.0.0/16 8940'));
    t.ok(routes().includes('10.2.0.0/16 8940'));
    const all = routes().sort();
    const own = lab.linux.network.open();
    for (const route of own.routes().filter(isClusterRoute)) own.apply({ do: 'delete_route', route });
    lab.tapChanged!();
    await lab.kit.clock.advance(1000);
    t.same(routes().sort(), all, 'somebody has removed them');
    await tell(['10.2.0.0/16'], false);
    t.notOk(routes().some((route) => route.startsWith('10.1.')));
    t.ok(routes().includes('10.2.0.0/16 9000'));
    lab.take();
    await tell(['10.2.0.0/16'], false);
    t.same(lab.take(false), [], 'nothing twice');
  },
);

/** Gives the uplink what a router has advertised. */
function advertised(lab: Lab): void {
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  const address = {
    link,
    family: 6,
    prefix: 'fd77::2/64',
    valid_s: 2_592_000,
    preferred_s: 604_800,
  } as const;
  own.apply({ do: 'add_address', address });
  const next_hops = [{ oif: link, gateway: 'fe80::1' }];
  own.apply({
    do: 'add_route',
    route: { family: 6, prefix: 'fd78::/48', protocol: 9, expires_s: 1800, metric: 1024, next_hops },
  });
}

/** As networkd does with a device that is new to it. */
function flush(lab: Lab): void {
  const own = lab.linux.network.open();
  const tap = own.link('eth0')!.index;
  for (const address of own.addresses(tap))
    if (address.prefix === 'fd77::2/64') own.apply({ do: 'delete_address', address });
  for (const route of own.routes({ link: tap }))
    if (route.prefix === 'fd78::/48') own.apply({ do: 'delete_route', route });
}

const hasAdvertised = (lab: Lab): boolean => {
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  return (
    own.addresses(link).some(({ prefix }) => prefix === 'fd77::2/64') &&
    own.routes({ link }).some(({ prefix }) => prefix === 'fd78::/48')
  );
};

t.test('what a router has advertised is put back when a service of the host flushes its tap', async (t) => {
  const lab = await Lab.start(t, {}, advertised);
  const before = lab.linux.state();
  await lab.taken();
  await lab.kit.clock.advance(1000);
  t.ok(hasAdvertised(lab));
  lab.take();
  for (let time = 1; time <= 5; time++) {
    flush(lab);
    lab.tapChanged!();
    await lab.kit.clock.advance(1000);
    t.ok(hasAdvertised(lab), `${time} times`);
  }
  t.same(lab.take(), [], 'VPP keeps its routes');
  t.match(lab.kit.log.lines.at(-1), { level: 'warn', text: /fd77::2\/64, fd78::\/48 of a router/ });
  flush(lab);
  lab.tapChanged!();
  await lab.kit.clock.advance(1000);
  t.notOk(hasAdvertised(lab), 'but not for ever');
  t.same(lab.take(), []);
  await lab.exited();
  t.same(lab.linux.state(), before, 'a restore gives the host what it had');
});

t.test('what was flushed while nobody was there is put back, and is what a restore gives', async (t) => {
  const lab = await Lab.start(t, {}, advertised);
  const before = lab.linux.state();
  await lab.taken();
  await lab.kit.clock.advance(1000);
  await lab.kit.tell({ type: 'VppDown', generation: 1, reason: 'EOF' });
  flush(lab);
  await lab.up(true);
  t.notOk(hasAdvertised(lab));
  const ends = lab.linux.restarted();
  await lab.kit.clock.advance(1000);
  t.ok(hasAdvertised(lab));
  t.equal(lab.state, 'vpp');
  lab.dies();
  await ends.restore();
  t.same(lab.linux.state(), before, 'also by who comes before that');
});

t.test('a lease that has come meanwhile is not joined by the old one', async (t) => {
  const lab = await Lab.start(t, {}, advertised);
  const own = lab.linux.network.open();
  lab.hanging = 'VPP_RUNNING';
  await lab.taken();
  const link = own.link('eth0')!.index;
  const routes = () => own.routes({ link }).filter(({ family }) => family === 4);
  // A service of the host flushes the tap, and gets another address by DHCP.
  flush(lab);
  for (const route of routes().filter(({ prefix }) => prefix === '0.0.0.0/0'))
    own.apply({ do: 'delete_route', route });
  for (const prefix of ['10.0.0.2/24', '10.0.0.100/32'])
    own.apply({ do: 'delete_address', address: { link, family: 4, prefix } });
  own.apply({ do: 'add_address', address: { link, family: 4, prefix: '10.0.0.77/24' } });
  lab.unhang();
  await lab.kit.clock.advance(500);
  t.ok(hasAdvertised(lab), 'it is put back');
  const [connected] = routes().filter(({ protocol }) => protocol === 2);
  t.match(connected, { prefsrc: '10.0.0.77' });
  const next_hops = [{ oif: link, gateway: '10.0.0.1' }];
  own.apply({ do: 'append_route', route: { family: 4, prefix: '0.0.0.0/0', metric: 101, next_hops } });
  await lab.kit.clock.advance(1000);
  t.equal(lab.state, 'vpp');
  t.same(
    own.addresses(link).flatMap(({ family, prefix }) => (family === 4 ? [prefix] : [])),
    ['10.0.0.77/24'],
  );
});

/** All IPv4 of the uplink is leased: 10.0.0.2/24, for an hour or as long as is said. */
function leased(lab: Lab, valid_s = 3600): void {
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  own.apply({ do: 'delete_address', address: { link, family: 4, prefix: '10.0.0.100/32' } });
  for (const address of own.addresses(link).filter(({ family }) => family === 4))
    own.apply({ do: 'replace_address', address: { ...address, valid_s, preferred_s: valid_s } });
}

/** Of IPv4, on whatever is the uplink by now. */
function ip4Of(own: NetworkNamespace) {
  const link = own.link('eth0')!.index;
  return {
    addresses: own.addresses(link).filter(({ family }) => family === 4),
    defaults: own.routes({ link }).filter(({ prefix }) => prefix === '0.0.0.0/0'),
  };
}

const of_a_lease = (lab: Lab) =>
  lab.kit.log.lines.filter(({ level, text }) => level === 'warn' && /of a lease/.test(text ?? ''));

t.test('a lease that its client drops when it is told of the tap is back a second later', async (t) => {
  const lab = await Lab.start(t, {}, leased);
  const before = lab.linux.state();
  const own = lab.linux.network.open();
  // A client that never answers.
  lab.hanging = 'VPP_RUNNING';
  await lab.taken();
  const { addresses, defaults } = ip4Of(own);
  t.match([addresses.length, defaults.length], [1, 1]);
  const lost = loseIpv4(own, own.link('eth0')!.index);
  await lab.kit.clock.advance(900);
  t.same(ip4Of(own), { addresses: [], defaults: [] }, 'it has a moment');
  await lab.kit.clock.advance(200);
  t.same(ip4Of(own), { addresses, defaults }, 'also while the services are still being told');
  t.match(of_a_lease(lab), [{ text: /10\.0\.0\.2\/24.*0\.0\.0\.0\/0.*put back/ }]);
  lab.unhang();
  await lab.kit.clock.advance(300);
  t.equal(lab.state, 'vpp');
  // The client has it again, and so it is the client's.
  for (const address of lost.addresses)
    own.apply({ do: 'replace_address', address: { ...address, valid_s: 3600, preferred_s: 3600 } });
  lab.tapChanged!();
  lab.take();
  await lab.kit.clock.advance(settings.services_ms);
  t.equal(ip4Of(own).addresses.length, 1);
  t.same(lab.take(), [], 'VPP has nothing to learn from it');
  await lab.exited();
  t.same(lab.linux.state(), before, 'a restore gives the host what it had');

  lab.hanging = undefined;
  await lab.taken();
  await lab.kit.clock.advance(settings.services_ms);
  loseIpv4(own, own.link('eth0')!.index);
  lab.tapChanged!();
  await lab.kit.clock.advance(60_000);
  t.same(ip4Of(own), { addresses: [], defaults: [] }, 'later it is the client’s to lose');
  t.equal(of_a_lease(lab).length, 1);
});

t.test('a lease that nobody gives back behind VPP’s death is taken over with all the same', async (t) => {
  for (const families of ['both', 'IPv4 alone']) {
    const lab = await Lab.start(t, {}, (each) => {
      leased(each);
      if (families === 'both') return;
      const own = each.linux.network.open();
      const link = own.link('eth0')!.index;
      for (const route of own.routes({ link }).filter(({ family }) => family === 6))
        own.apply({ do: 'delete_route', route });
      for (const address of own.addresses(link).filter(({ family }) => family === 6))
        own.apply({ do: 'delete_address', address });
    });
    const before = lab.linux.state();
    const own = lab.linux.network.open();
    await lab.taken();
    t.equal(lab.state, 'vpp', families);
    const prefixes = () => Object.values(ip4Of(own)).map((all) => all.map(({ prefix }) => prefix));
    const on_tap = prefixes();
    t.match(on_tap, [['10.0.0.2/24'], ['0.0.0.0/0']]);
    await lab.exited();
    loseIpv4(own, own.link('eth0')!.index);
    await lab.up();
    await lab.kit.clock.advance(1000);
    t.notOk(lab.linux.host.isChanged(), `${families}: its client has a moment`);
    await lab.kit.clock.advance(2000);
    t.equal(lab.state, 'vpp', families);
    t.same(prefixes(), on_tap, families);
    await lab.exited();
    t.same(lab.linux.state(), before, `${families}: which the journal has, too`);

    // Nobody knows what has become of a lease that nobody could renew for so long.
    loseIpv4(own, own.link('eth0')!.index);
    await lab.kit.clock.advance(60_000);
    await lab.up();
    await lab.kit.clock.advance(settings.services_ms - 500);
    t.notOk(lab.linux.host.isChanged(), families);
    await lab.kit.clock.advance(2000);
    t.equal(lab.state, families === 'both' ? 'vpp' : 'failed');
    t.equal(ip4Of(own).addresses.length, 0);
  }
});

t.test('a service that drops what it finds on a tap costs no attempt, whenever it does', async (t) => {
  // As the tap is being dressed: routes of an address that is gone already.
  const lab = await Lab.start(t, {}, leased);
  const own = lab.linux.network.open();
  let drops = 1;
  lab.linux.network.refuses = (change) => {
    if (change.do !== 'append_route' || change.route.prefix !== '0.0.0.0/0' || drops === 0) return undefined;
    drops -= 1;
    loseIpv4(own, own.link('eth0')!.index);
    return 'ENETUNREACH';
  };
  await lab.taken();
  t.equal(drops, 0);
  t.equal(lab.state, 'vpp');
  t.match([ip4Of(own).addresses.length, ip4Of(own).defaults.length], [1, 1]);
  t.match(
    lab.kit.log.lines.filter(({ text }) => /dressed again/.test(text ?? '')),
    [{ level: 'warn', text: /Linux refused append_route 0\.0\.0\.0\/0/ }],
  );

  // Before its gateways are asked, which needs an address.
  const next = await Lab.start(t, {}, leased);
  const tap = next.linux.network.open();
  next.refuses = ({ action, object }) => {
    const is_tap_up =
      action === 'add' &&
      object.kind === 'interface_flag' &&
      object.interface === 'host-eth0' &&
      object.flag === 'admin_up';
    if (is_tap_up) loseIpv4(tap, tap.link('eth0')!.index);
    return false;
  };
  await next.taken();
  t.equal(next.state, 'vpp');
  t.match([ip4Of(tap).addresses.length, ip4Of(tap).defaults.length], [1, 1]);
  for (const each of [lab, next])
    t.same(
      each.reports.filter(({ state }) => state === 'failed'),
      [],
    );
});

t.test('a lease that was put back goes when the client gets another one', async (t) => {
  const lab = await Lab.start(t, {}, leased);
  const own = lab.linux.network.open();
  await lab.taken();
  const link = own.link('eth0')!.index;
  loseIpv4(own, link);
  lab.tapChanged!();
  await lab.kit.clock.advance(2000);
  t.equal(ip4Of(own).addresses.length, 1);
  // Longer than the time in which it is put back.
  await lab.kit.clock.advance(settings.services_ms + 1000);
  own.apply({
    do: 'add_address',
    address: { link, family: 4, prefix: '10.77.0.5/24', valid_s: 60, preferred_s: 60 },
  });
  const next_hops = [{ oif: link, gateway: '10.77.0.1' }];
  own.apply({
    do: 'append_route',
    route: { family: 4, prefix: '0.0.0.0/0', metric: 1024, protocol: 16, prefsrc: '10.77.0.5', next_hops },
  });
  lab.tapChanged!();
  await lab.kit.clock.advance(1000);
  const { addresses, defaults } = ip4Of(own);
  t.same(
    addresses.map(({ prefix }) => prefix),
    ['10.77.0.5/24'],
  );
  t.same(
    defaults.map(({ next_hops: [hop] }) => hop?.gateway),
    ['10.77.0.1'],
    'nor is there a way by a gateway of the old network',
  );
  t.match(lab.linux.host.taken()?.uplinks, [{ link: { name: 'eth0' } }]);
  t.same(
    lab.linux.host
      .taken()!
      .uplinks[0]!.addresses.flatMap(({ family, prefix }) => (family === 4 ? [prefix] : [])),
    ['10.77.0.5/24'],
    'which is what a restore gives back',
  );
});

t.test('a lease that its client drops for a moment stays in VPP and in the journal', async (t) => {
  const services_ms = 60_000;
  const lab = await Lab.start(t, { services_ms }, leased);
  const own = lab.linux.network.open();
  const remembered = () =>
    lab.linux.host.taken()!.uplinks[0]!.addresses.filter(({ family }) => family === 4).length;
  await lab.taken();
  lab.take();
  // The host has its IPv6 all the while.
  for (let time = 1; time <= 3; time++) {
    loseIpv4(own, own.link('eth0')!.index);
    lab.tapChanged!();
    await lab.kit.clock.advance(900);
    t.equal(ip4Of(own).addresses.length, 0);
    t.equal(remembered(), 1, `${time} times`);
    await lab.kit.clock.advance(500);
    t.equal(ip4Of(own).addresses.length, 1, `${time} times`);
  }
  t.same(lab.take(), [], 'VPP hears nothing of it');
  await lab.kit.clock.advance(services_ms);
  loseIpv4(own, own.link('eth0')!.index);
  lab.tapChanged!();
  await lab.kit.clock.advance(1000);
  t.equal(remembered(), 0, 'later it is what the host wants');
  t.match(lab.take(), [/^transact/]);
});

/** What a failover manager, kube-vip say, puts beside the host's own address, and renews. */
const virtual = (own: NetworkNamespace, prefix = '10.0.0.250/32', preferred_s = 60): void =>
  own.apply({
    do: 'replace_address',
    address: { link: own.link('eth0')!.index, family: 4, prefix, valid_s: 60, preferred_s },
  });

const ip4Prefixes = (own: NetworkNamespace) => ip4Of(own).addresses.map(({ prefix }) => prefix);

t.test('a virtual address takes no lease away that was put back, nor is it in its place', async (t) => {
  for (const [prefix, preferred_s, ages_ms] of [
    ['10.0.0.250/32', 60, [0, 3_700_000]],
    ['10.0.0.250/24', 0, [0]],
  ] as const) {
    const lab = await Lab.start(t, {}, leased);
    const own = lab.linux.network.open();
    await lab.taken();
    const link = own.link('eth0')!.index;
    loseIpv4(own, link);
    lab.tapChanged!();
    await lab.kit.clock.advance(2000);
    for (const after_ms of ages_ms) {
      await lab.kit.clock.advance(after_ms);
      virtual(own, prefix, preferred_s);
      lab.tapChanged!();
      await lab.kit.clock.advance(2000);
      t.same(ip4Prefixes(own), ['10.0.0.2/24', prefix], `${after_ms} ms later`);
      t.equal(ip4Of(own).defaults.length, 1);
      own.apply({ do: 'delete_address', address: { link, family: 4, prefix } });
      lab.tapChanged!();
      await lab.kit.clock.advance(2000);
    }
    await lab.exited();
    await lab.taken();
    loseIpv4(own, own.link('eth0')!.index);
    virtual(own, prefix, preferred_s);
    lab.tapChanged!();
    await lab.kit.clock.advance(2000);
    t.same(ip4Prefixes(own), [prefix, '10.0.0.2/24'], 'the host lacks its network');
    t.equal(ip4Of(own).defaults.length, 1);
  }
});

t.test('another lease in the same subnet outlives the one that was put back', async (t) => {
  const lab = await Lab.start(t, {}, leased);
  const own = lab.linux.network.open();
  await lab.taken();
  const link = own.link('eth0')!.index;
  const [route] = ip4Of(own).defaults;
  loseIpv4(own, link);
  lab.tapChanged!();
  await lab.kit.clock.advance(2000);
  virtual(own, '10.0.0.77/24');
  lab.tapChanged!();
  await lab.kit.clock.advance(2000);
  t.same(ip4Prefixes(own), ['10.0.0.77/24'], 'it leads by the gateway that is there');
  own.apply({ do: 'append_route', route: { ...route!, prefsrc: '10.0.0.77' } });
  lab.tapChanged!();
  await lab.kit.clock.advance(2000);
  const { addresses, defaults } = ip4Of(own);
  t.match(addresses, [{ prefix: '10.0.0.77/24', flags: 0, valid_s: 60 }]);
  t.match(defaults.at(-1), { prefsrc: '10.0.0.77', next_hops: [{ gateway: '10.0.0.1' }] });
  t.match(
    own.routes({ link }).filter(({ prefix }) => prefix === '10.0.0.0/24'),
    [{ prefsrc: '10.0.0.77' }],
  );
  t.equal(own.readSysctl('net/ipv4/conf/eth0/promote_secondaries') ?? '0', '0', 'the host’s own wish');
});

t.test('a lease that was put back is the host’s after an hour, whatever comes beside it', async (t) => {
  const lab = await Lab.start(t, {}, leased);
  const own = lab.linux.network.open();
  await lab.taken();
  const link = own.link('eth0')!.index;
  loseIpv4(own, link);
  lab.tapChanged!();
  await lab.kit.clock.advance(2000);
  await lab.kit.clock.advance(3_600_000);
  virtual(own, '10.77.0.5/24');
  const next_hops = [{ oif: link, gateway: '10.77.0.1' }];
  own.apply({ do: 'append_route', route: { family: 4, prefix: '0.0.0.0/0', metric: 7, next_hops } });
  lab.tapChanged!();
  await lab.kit.clock.advance(2000);
  t.same(ip4Prefixes(own), ['10.0.0.2/24', '10.77.0.5/24']);
  // Whose client has not been there all the while.
  await lab.exited();
  loseIpv4(own, own.link('eth0')!.index);
  await lab.up();
  await lab.kit.clock.advance(settings.services_ms + 2000);
  t.equal(lab.state, 'vpp', 'by IPv6');
  t.same(ip4Prefixes(own), [], 'nor is it put back once more');
});

t.test('as long as a client may not have been told of the tap, nobody knows that it was there', async (t) => {
  const services_ms = 100_000;
  for (const [after_ms, there] of [
    [70_000, []],
    [services_ms + 1000, ['10.0.0.2/24']],
  ] as const) {
    const lab = await Lab.start(t, { services_ms }, leased);
    const own = lab.linux.network.open();
    await lab.taken();
    await lab.kit.clock.advance(after_ms);
    await lab.exited();
    loseIpv4(own, own.link('eth0')!.index);
    await lab.up();
    await lab.kit.clock.advance(services_ms + 2000);
    t.equal(lab.state, 'vpp');
    t.same(ip4Prefixes(own), there, `${after_ms} ms`);
  }
});

t.test('an address that is given up on purpose does not come back', async (t) => {
  const becomesStatic = (own: NetworkNamespace): void => {
    const link = own.link('eth0')!.index;
    loseIpv4(own, link);
    own.apply({ do: 'add_address', address: { link, family: 4, prefix: '10.0.0.77/24' } });
    const next_hops = [{ oif: link, gateway: '10.0.0.1' }];
    own.apply({ do: 'append_route', route: { family: 4, prefix: '0.0.0.0/0', metric: 50, next_hops } });
  };
  const given = (lab: Lab) => [ip4Prefixes(lab.linux.network.open()), of_a_lease(lab)];
  const lab = await Lab.start(t, {}, leased);
  await lab.taken();
  becomesStatic(lab.linux.network.open());
  lab.tapChanged!();
  await lab.kit.clock.advance(600_000);
  t.same(given(lab), [['10.0.0.77/24'], []], 'for a static one, on the tap');

  const next = await Lab.start(t, {}, leased);
  await next.taken();
  await next.kit.clock.advance(20_000);
  await next.exited();
  becomesStatic(next.linux.network.open());
  await next.up();
  await next.kit.clock.advance(6000);
  t.same(given(next), [['10.0.0.77/24'], []], 'or behind VPP’s death');

  const last = await Lab.start(t, {}, (each) => {
    leased(each);
    virtual(each.linux.network.open());
  });
  const own = last.linux.network.open();
  const leaves = () => {
    const link = own.link('eth0')!.index;
    own.apply({ do: 'delete_address', address: { link, family: 4, prefix: '10.0.0.250/32' } });
  };
  await last.taken();
  t.same(ip4Prefixes(own), ['10.0.0.2/24', '10.0.0.250/32']);
  leaves();
  last.tapChanged!();
  await last.kit.clock.advance(600_000);
  t.same(given(last), [['10.0.0.2/24'], []], 'a virtual one that another node has by now');
  virtual(own);
  last.tapChanged!();
  await last.kit.clock.advance(1000);
  await last.exited();
  leaves();
  await last.up();
  await last.kit.clock.advance(5000);
  t.same(given(last), [['10.0.0.2/24'], []], 'likewise');
});

t.test('nobody knows how old the leases are that an earlier process has written down', async (t) => {
  for (const adopted of [false, true]) {
    const lab = await Lab.start(t, {}, leased);
    const own = lab.linux.network.open();
    await lab.taken();
    if (!adopted) lab.dies();
    await lab.kit.clock.advance(300_000);
    await lab.kit.crash(new Error('the next process'));
    await lab.kit.clock.advance(100);
    const subscriber = lab.kit.mailbox<EarlyNodeStatus>('owners').ref;
    await lab.kit.tell({ type: 'SubscribeEarly', subscriber });
    if (adopted) {
      await lab.up();
      await lab.kit.clock.advance(1000);
      t.equal(lab.state, 'vpp');
      t.same(ip4Prefixes(own), ['10.0.0.2/24']);
      await lab.exited();
    }
    lab.during.BEFORE_IF_READ = () => loseIpv4(own, own.link('eth0')!.index);
    await lab.up();
    await lab.kit.clock.advance(settings.services_ms + 2000);
    t.equal(lab.state, 'vpp', 'by IPv6');
    t.same(ip4Prefixes(own), [], adopted ? 'VPP has run all the while' : 'VPP was dead, too');
  }
});

t.test('a lease of a silent server ends, however often VPP dies', async (t) => {
  for (const drops of ['always', 'behind VPP’s death']) {
    const lab = await Lab.start(t, {}, leased);
    const own = lab.linux.network.open();
    await lab.taken();
    await lab.kit.clock.advance(100_000);
    const there: number[] = [];
    for (let life = 0; life < 4; life++) {
      await lab.exited();
      loseIpv4(own, own.link('eth0')!.index);
      await lab.up();
      await lab.kit.clock.advance(3500);
      if (drops === 'always' && lab.state === 'vpp') {
        loseIpv4(own, own.link('eth0')!.index);
        lab.tapChanged!();
      }
      await lab.kit.clock.advance(52_500);
      t.equal(lab.state, 'vpp');
      there.push(ip4Of(own).addresses.length);
    }
    t.same(there, [1, 1, 0, 0], `a minute after its client was there last: it drops it ${drops}`);
  }
});

t.test('a client that goes on dropping its lease is not fought for ever', async (t) => {
  const lab = await Lab.start(t, { services_ms: 60_000 }, leased);
  const own = lab.linux.network.open();
  await lab.taken();
  for (let second = 0; second < 30; second++) {
    loseIpv4(own, own.link('eth0')!.index);
    lab.tapChanged!();
    await lab.kit.clock.advance(2000);
  }
  t.equal(of_a_lease(lab).length, 5);
});

t.test('what is on two taps is told apart: one has its lease, and nothing is put back there', async (t) => {
  const lab = await Lab.start(t, { specs: [specOf(), second_spec] }, leased);
  const own = lab.linux.network.open();
  for (const gateway of ['10.1.0.1', 'fd01::1']) lab.answering.add(gateway);
  await lab.taken();
  const [first, second] = ['eth0', 'eth1'].map((name) => own.link(name)!.index);
  const there = ip4Of(own);
  loseIpv4(own, first!);
  const without = own.addresses(second).filter(({ prefix }) => prefix !== '10.1.0.100/32');
  own.apply({ do: 'delete_address', address: { link: second!, family: 4, prefix: '10.1.0.100/32' } });
  lab.tapChanged!();
  await lab.kit.clock.advance(2000);
  t.same(ip4Of(own), there);
  t.same(own.addresses(second), without, 'what was not leased is the host’s to remove');
});

t.test("what is no router's, and what is on a tap that is down, is the host's to remove", async (t) => {
  const lab = await Lab.start(t, {}, advertised);
  await lab.taken();
  await lab.kit.clock.advance(1000);
  const own = lab.linux.network.open();
  const tap = own.link('eth0')!.index;
  own.apply({ do: 'delete_address', address: { link: tap, family: 6, prefix: 'fd00::2/64' } });
  lab.tapChanged!();
  await lab.kit.clock.advance(1000);
  t.notOk(own.addresses(tap).some(({ prefix }) => prefix === 'fd00::2/64'));
  own.apply({ do: 'set_link', link: tap, up: false });
  flush(lab);
  lab.tapChanged!();
  await lab.kit.clock.advance(1000);
  t.equal(own.link('eth0')?.up, false);
});

t.test('a hook that flushes what a router has advertised costs the host a moment', async (t) => {
  const lab = await Lab.start(t, {}, (each) => {
    const own = each.linux.network.open();
    const link = own.link('eth0')!.index;
    // All that it has of IPv6 is from a router.
    for (const address of own.addresses(link).filter(({ prefix }) => prefix.startsWith('fd00')))
      own.apply({ do: 'replace_address', address: { ...address, valid_s: 86_400, preferred_s: 14_400 } });
    for (const route of own.routes({ link }).filter(({ prefix }) => prefix === '::/0')) {
      own.apply({ do: 'delete_route', route });
      own.apply({ do: 'add_route', route: { ...route, protocol: 9, expires_s: 1800 } });
    }
  });
  const own = lab.linux.network.open();
  lab.hanging = 'VPP_RUNNING';
  await lab.taken();
  const tap = own.link('eth0')!.index;
  const six = () => own.addresses(tap).filter(({ prefix }) => prefix.startsWith('fd00'));
  for (const route of own.routes({ link: tap }).filter(({ prefix }) => prefix === '::/0'))
    own.apply({ do: 'delete_route', route });
  for (const address of six()) own.apply({ do: 'delete_address', address });
  lab.unhang();
  await lab.kit.clock.advance(100);
  t.equal(lab.state, 'vpp');
  t.equal(six().length, 1);
  t.ok(own.routes({ link: tap }).some(({ prefix }) => prefix === '::/0'));
});

t.test('an uplink that is not fit costs no service of the host anything', async (t) => {
  const lab = await Lab.start(t);
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  const global = own.addresses(link).filter(({ prefix }) => !prefix.startsWith('fe80'));
  for (const address of global) own.apply({ do: 'delete_address', address });
  lab.take();
  await lab.up();
  await lab.kit.clock.advance(60_000);
  t.same(
    new Set(lab.take(false)),
    new Set(['hook BEFORE_IF_READ', 'report failed']),
    'no later hook, no undo, no change',
  );
});

t.test('gateways that did not answer Linux need not answer VPP', async (t) => {
  const lab = await Lab.start(t);
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  own.apply({ do: 'set_neighbour', neighbour: { link, family: 4, address: '10.0.0.1', state: 0x20 } });
  lab.answering.delete('10.0.0.1');
  lab.answering_linux.delete('10.0.0.1');
  await lab.taken();
  t.equal(lab.state, 'vpp');
});

/** Times, since the first, at which a take-over has begun within a minute. */
async function tries(lab: Lab): Promise<number[]> {
  const at: number[] = [];
  const start = lab.kit.clock.now_ms();
  for (let step = 0; step < 600; step++) {
    if (lab.take().includes('hook BEFORE_IF_READ'))
      at.push(Math.round((lab.kit.clock.now_ms() - start) / 1000));
    await lab.kit.clock.advance(100);
  }
  return at;
}

t.test(
  'a failed take-over is tried again after a pause that doubles, and after some of them seldom, as is told',
  async (t) => {
    const lab = await Lab.start(t);
    lab.refuses = ({ action, object }) => action === 'add' && object.kind === 'tap';
    await lab.up();
    const first = lab.kit.clock.now_ms();
    t.same(await tries(lab), [0, 1, 3]);
    t.equal(lab.state, 'failed');
    t.match(lab.reports.at(-1), { reason: /refused to add .*"tap".*; tried again in 5 min/ });
    const later: number[] = [];
    for (let minute = 1; minute < 60; minute++) {
      await lab.kit.clock.advance(60_000);
      if (lab.take().includes('hook BEFORE_IF_READ'))
        later.push(Math.round((lab.kit.clock.now_ms() - first) / 60_000));
    }
    t.same(later, [6, 16, 32, 49], 'five minutes, ten, and then the longest pause');
    await lab.exited();
    await lab.up();
    t.same(await tries(lab), [0, 1, 3], 'the next VPP is a new beginning');
    lab.refuses = () => false;
    await lab.exited();
    await lab.taken();
    t.equal(lab.state, 'vpp');
  },
);

t.test(
  'an uplink that is not fit yet is looked at again and again: that costs nobody anything',
  async (t) => {
    const lab = await Lab.start(t);
    const own = lab.linux.network.open();
    const link = own.link('eth0')!.index;
    own.apply({ do: 'set_link', link, name: 'eth9' });
    await lab.up();
    const looked = await tries(lab);
    t.same(looked.slice(0, 5), [0, 1, 3, 7, 11], 'up to the longest pause');
    t.ok(looked.length > 10);
    own.apply({ do: 'set_link', link, name: 'eth0' });
    await lab.kit.clock.advance(5000);
    t.equal(lab.state, 'vpp');
  },
);

t.test('a service of the host that always fails keeps no uplink from being looked at', async (t) => {
  const asked: string[] = [];
  const lab = await Lab.start(t);
  lab.linux.run = async ([program = '']) => {
    if (program === 'broken') asked.push(program);
    return { code: 1, stdout: '', stderr: '' };
  };
  await lab.taken();
  lab.linux.journal.record([
    { kind: 'run_command', argv: ['broken'], timeout_ms: 20_000, after_boot: false },
  ]);
  await lab.exited();
  t.same(asked.splice(0), ['broken'], 'when VPP dies');
  t.equal(lab.linux.host.taken(), undefined, 'the uplink is not in the hands of VPP');
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  own.apply({ do: 'set_link', link, name: 'eth9' });
  await lab.up();
  t.ok((await tries(lab)).length > 10, 'as long as it takes');
  t.same(asked, [], 'and no link is bounced by it');
  own.apply({ do: 'set_link', link, name: 'eth0' });
  await lab.kit.clock.advance(5000);
  t.equal(lab.state, 'vpp');
  await lab.exited();
  t.same(asked, ['broken']);
});

t.test(
  'what does not come back from VPP keeps nobody from looking for it, and is told each time',
  async (t) => {
    const lab = await Lab.start(t);
    await lab.taken();
    // Somebody has taken it away.
    const elsewhere = '/var/run/netns/elsewhere';
    const { network } = lab.linux;
    network.addNamespace(elsewhere);
    const moved = (from: string, netns: string) => {
      const namespace = network.open(from);
      namespace.apply({ do: 'move_link', link: namespace.link('eth0')!.index, netns });
    };
    moved(vpp_netns, elsewhere);
    await lab.exited();
    t.match(lab.linux.host.taken(), { phase: 'taken' }, 'the restore has failed');
    await lab.up();
    lab.kit.log.lines.length = 0;
    t.ok((await tries(lab)).length > settings.failures_max, 'as long as it takes');
    t.match(
      lab.kit.log.lines.find(({ level }) => level === 'warn'),
      { text: /not given back: .*eth0/ },
    );
    moved(elsewhere, vpp_netns);
    await lab.kit.clock.advance(5000);
    t.equal(lab.state, 'vpp');
  },
);

t.test('a gateway that has answered long ago is asked before it counts', async (t) => {
  const lab = await Lab.start(t);
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  for (const [address, family] of [
    ['10.0.0.1', 4],
    ['fd00::1', 6],
  ] as const)
    own.apply({
      do: 'set_neighbour',
      neighbour: { link, family, address, mac: '02:00:00:00:00:91', state: 4 },
    });
  // It has gone since.
  lab.answering.delete('10.0.0.1');
  lab.answering_linux.delete('10.0.0.1');
  lab.take();
  await lab.taken();
  t.equal(lab.state, 'vpp');
});

t.test('a VPP knows whom the one before has met, and Linux, before its uplinks are up', async (t) => {
  const lab = await Lab.start(t);
  const [a, b] = macs;
  const links = lab.linux.network.open();
  const meets = (address: string, mac: string, state: number): void => {
    const link = links.link('eth0')!.index;
    links.apply({ do: 'set_neighbour', neighbour: { link, family: 4, address, mac, state } });
  };
  meets('10.0.0.20', a!, 2);
  meets('10.0.0.21', a!, 4);
  lab.take();
  await lab.taken();
  const introduced = () => lab.take().filter((text) => /^(transact|introduce|police)/.test(text));
  const order = (...texts: string[]) => ['transact add', 'transact add', ...texts, 'police'];
  t.same(
    introduced().slice(0, 4),
    order(`introduce behind main-eth0 10.0.0.20 ${a}`),
    'who has answered Linux, and is no gateway',
  );
  t.equal(lab.state, 'vpp');

  lab.met = [
    { address: '10.0.0.20', mac: a! },
    { address: 'fd00::30', mac: a! },
  ];
  await lab.kit.clock.advance(10_000);
  lab.met = [];
  await lab.exited();
  meets('10.0.0.20', b!, 2);
  lab.deaf = true;
  lab.take();
  await lab.taken();
  t.same(
    introduced().slice(0, 4),
    order(`introduce behind main-eth0 10.0.0.20 ${b}, fd00::30 ${a}`),
    'who has answered last is right',
  );
  t.equal(lab.state, 'vpp', 'one that takes in none goes on without');

  await lab.exited();
  // As it is known from long ago: later than VPP was asked, since Linux has learned it anew.
  meets('10.0.0.20', a!, 4);
  lab.deaf = false;
  lab.mute = true;
  lab.take();
  await lab.up();
  await lab.kit.clock.advance(150);
  t.notOk(lab.take().includes('police'));
  await lab.kit.clock.advance(100);
  t.ok(lab.take().includes('police'), 'the host does not wait long for it');
  await lab.kit.clock.advance(1000);
  t.equal(lab.state, 'vpp');
  lab.mute = false;

  lab.met = [{ address: '10.0.0.20', mac: b! }];
  await lab.kit.clock.advance(10_000);
  await lab.exited();
  meets('10.0.0.20', a!, 4);
  lab.take();
  await lab.taken();
  t.same(introduced().slice(0, 4), order(`introduce behind main-eth0 10.0.0.20 ${a}`), 'Linux knows better');
  await lab.kit.clock.advance(10_000);
  await lab.exited();
  await lab.kit.clock.advance(61_000);
  lab.take();
  await lab.taken();
  t.same(introduced().slice(0, 3), order('police').slice(0, 3), 'what was met long ago is forgotten');
});

t.test('a retry for a VPP that is no more, or that has the uplinks by now, does nothing', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  lab.take();
  await lab.kit.tell({ type: 'Retry', generation: 1 });
  await lab.kit.tell({ type: 'Retry', generation: 7 });
  t.same(lab.take(false), []);
});

t.test(
  'a VPP that goes away in the middle is waited for: the host is given back when it is known to be dead',
  async (t) => {
    const lab = await Lab.start(t);
    const before = lab.linux.state();
    lab.owners.clear();
    await lab.taken();
    lab.lost = 'connection lost';
    await lab.inPlace(1);
    await lab.kit.clock.advance(1000);
    t.equal(lab.state, 'failed');
    t.ok(lab.linux.host.isChanged());
    t.notOk(lab.take().includes('hook VPP_ERRORED'));
    await lab.kit.tell({ type: 'VppDown', generation: 1, reason: 'EOF' });
    t.ok(lab.linux.host.isChanged());
    await lab.exited();
    t.same(lab.linux.state(), before);
    t.ok(lab.take().includes('hook VPP_DONE_OK'));
    lab.lost = undefined;
    await lab.taken();
    await lab.inPlace(2);
    await lab.kit.clock.advance(1000);
    t.equal(lab.state, 'vpp');
  },
);

t.test(
  'with a full mailbox the end of VPP is heard, and its beginning is not believed after that',
  async (t) => {
    const lab = await Lab.start(t);
    const before = lab.linux.state();
    await lab.taken();
    lab.hanging = 'VPP_DONE_OK';
    await lab.exited();
    t.equal(lab.kit.node().currentHandler?.type, 'VppExited', 'it is busy');
    while (lab.kit.ref.tell({ type: 'TapChanged', name: 'eth0' }));
    lab.kit.ref.tellUrgent({ type: 'VppUp', generation: 2, vpp: 'another', adopted: false, ...lab.threads });
    lab.kit.ref.tellUrgent({ type: 'VppDown', generation: 2, reason: 'EOF' });
    lab.kit.ref.tellUrgent({ type: 'VppExited', reason: 'SIGABRT' });
    lab.hanging = undefined;
    lab.unhang();
    await lab.kit.settle();
    await lab.kit.clock.advance(60_000);
    t.match(lab.kit.node().mailbox, { depth: 0 });
    t.match(lab.kit.node().gauges, { state: 'linux', reason: 'VPP died: SIGABRT' });
    t.same(lab.linux.state(), before, 'the host has its network');
    await lab.taken();
    t.equal(lab.state, 'vpp');
  },
);

t.test('an undo that outlives its actor costs the take-over after it nothing', async (t) => {
  const lab = await Lab.start(t);
  const before = lab.linux.state();
  await lab.taken();
  // A service of the host that takes its time, and more than a handler may.
  let end: (() => void) | undefined;
  lab.linux.run = async (argv) => {
    if (argv[0] === 'slow' && end === undefined) await new Promise<void>((resolve) => (end = resolve));
    return { code: 0, stdout: '', stderr: '' };
  };
  lab.linux.journal.record([{ kind: 'run_command', argv: ['slow'], timeout_ms: 20_000, after_boot: false }]);
  await lab.exited();
  await lab.kit.clock.advance(121_000);
  t.equal(lab.kit.node().incarnation, 2);
  await lab.taken();
  t.not(lab.state, 'vpp', 'it is waited for');
  end!();
  await lab.kit.clock.advance(2000);
  t.equal(lab.state, 'vpp');
  t.equal(lab.linux.restarted().taken()?.phase, 'taken');
  lab.dies();
  await lab.linux.host.restore();
  t.same(lab.linux.state(), before, 'the journal on the disk is that of the second take-over');
});

t.test('what an actor that is over had still to undo is left to the next one', async (t) => {
  const lab = await Lab.start(t);
  lab.refuses = ({ action, object }) => action === 'add' && object.kind === 'tap';
  const vpp = lab.kit.mailbox<VppConnectionMessage>('vpp');
  vpp.on('Read', ({ scopes, reply }) => {
    if (scopes.includes('nobody')) reply.resolve(lab.snapshot());
  });
  await lab.taken();
  t.equal(lab.kit.node().currentHandler?.type, 'TakeOverFailed', 'it waits for VPP, to take the uplink out');
  await lab.kit.crash(new Error('defect'));
  t.ok(lab.linux.host.isChanged());
  lab.refuses = () => false;
  vpp.on('Read', ({ reply }) => reply.resolve(lab.snapshot()));
  await lab.kit.clock.advance(100);
  await lab.taken();
  t.equal(lab.state, 'vpp');
});

t.test(
  'the host is not given back when only the parent is restarted, and is when it stops for good',
  async (t) => {
    const lab = await Lab.start(t);
    await lab.taken();
    const during = lab.linux.state();
    const group: ChildSpec<{ readonly type: 'Work' }> = {
      name: 'group',
      restart: 'permanent',
      shutdown_ms: 1000,
      mailbox_max: 8,
      handler_ms_max: 1000,
      start: async (ctx) => {
        await ctx.spawn(lab.spec(lab.base, {}));
        return { receive: () => undefined };
      },
    };
    // The lab's own actor would watch over the same host.
    await lab.kit.crash(new Error('defect'));
    await lab.kit.system.spawn(group);
    lab.take();
    await lab.kit.crash(new Error('defect'), 'root/group');
    await lab.kit.clock.advance(100);
    t.equal(lab.kit.node('root/group/uplink').incarnation, 2);
    t.notOk(lab.take().includes('end VPP'));
    t.same(lab.linux.state(), during, 'VPP goes on forwarding');
    const stopped = lab.kit.system.stopChild('group');
    await lab.kit.clock.advance(1000);
    await stopped;
    t.ok(lab.take().includes('end VPP'));
    t.notSame(lab.linux.state(), during);
  },
);

t.test('addresses are published until others are, or the actor ends', async (t) => {
  const lab = await Lab.start(t);
  lab.publishing = () => new Promise(() => undefined);
  const aborted = () => lab.publications.map((signal) => signal.aborted);
  await lab.taken();
  t.same(aborted(), [false]);
  await lab.exited();
  await lab.taken();
  t.same(aborted(), [true, false]);
  await lab.kit.system.stopChild('uplink');
  t.same(aborted(), [true, true]);
});

t.test(
  'addresses that the Node does not take are a fault of it, with the step to take, until it has them',
  async (t) => {
    const lab = await Lab.start(t);
    let taken = () => undefined as unknown;
    lab.publishing = (failing) => {
      failing('PATCH /api/v1/nodes/own/status: answered 403');
      return new Promise((resolve) => {
        taken = () => resolve();
      });
    };
    t.strictSame(lab.faults(), {}, 'nothing is to be published');
    await lab.taken();
    const fault = {
      'Node own':
        /^does not tell its addresses \(10\.0\.0\.2\/24, fd00::2\/64\).*answered 403.*tried again.*patch nodes\/status \(deploy\/kubernetes\/rbac\.yaml\)/,
    };
    t.match(lab.faults(), fault);
    t.match(await lab.kit.system.describe('root/uplink', 1000), { faults: fault });
    t.match(lab.kit.node().gauges, { faulty: 1 });
    t.equal(lab.state, 'vpp', 'the node itself is well');
    taken();
    await lab.kit.settle();
    t.strictSame(lab.faults(), {});
    t.match(lab.kit.node().gauges, { faulty: 0 });
  },
);

t.test('a subscriber with a full mailbox is told that the node is lost', async (t) => {
  const lab = await Lab.start(t);
  const mailbox = lab.kit.mailbox<NodeStatus | { readonly type: 'Work' }>('busy', {
    mailbox_max: 1,
    handler_ms_max: 600_000,
    start: () => ({ receive: (message) => (message.type === 'Work' ? new Promise(() => {}) : undefined) }),
  });
  await lab.kit.tell({ type: 'SubscribeNode', subscriber: mailbox.ref });
  mailbox.ref.tell({ type: 'Work' });
  await lab.kit.settle();
  while (mailbox.ref.tell({ type: 'Work' }));
  await lab.taken();
  await lab.exited();
  t.same(lab.kit.node('root/busy').mailbox.urgent, ['NodeReady', 'NodeLost']);
});

t.test('the death of VPP cuts a take-over short, wherever it is', async (t) => {
  for (const ms of [0, 25, 50, 100, 500, 1000]) {
    const lab = await Lab.start(t);
    const before = lab.linux.state();
    lab.answering.clear();
    await lab.up();
    await lab.kit.clock.advance(ms);
    lab.take();
    await lab.exited();
    t.same(lab.linux.state(), before, `after ${ms} ms`);
    t.equal(lab.state, 'linux');
    const touched = lab.linux.network.mutations.length;
    await lab.kit.clock.advance(60_000);
    t.equal(lab.linux.network.mutations.length, touched, 'and nothing of it goes on');
    t.equal(lab.state, 'linux');
  }
});

t.test('a hook that hangs keeps neither the end of VPP nor that of the node waiting', async (t) => {
  for (const ending of ['VPP dies', 'stop'] as const) {
    const lab = await Lab.start(t);
    const before = lab.linux.state();
    lab.hanging = 'VPP_RUNNING';
    await lab.taken();
    t.not(lab.state, 'vpp');
    if (ending === 'stop') await lab.kit.system.stopChild('uplink');
    else await lab.exited();
    t.same(lab.linux.state(), before, ending);
  }
});

t.test('a take-over that ends when the connection is lost already is not told as ready', async (t) => {
  const lab = await Lab.start(t);
  const heard = await lab.subscribe('cni');
  lab.answering.clear();
  await lab.taken();
  lab.answering = new Set(['10.0.0.1', 'fd00::1']);
  await lab.kit.clock.advance(50);
  t.match(await heard(), [{ type: 'NodeReady' }]);
  await lab.kit.tell({ type: 'VppDown', generation: 1, reason: 'EOF' });
  const uplinks = lab.linux.host.taken()!.uplinks;
  const late = { captured: uplinks, uplinks: uplinks.map((each) => uplinkOf(each, true, 'main-eth0')) };
  await heard();
  await lab.kit.tell({ type: 'Taken', generation: 1, taken: late });
  t.same(await heard(), []);
  t.equal(lab.state, 'linux');
});

t.test(
  'what the host changes on its tap goes to VPP and into the journal, once it has settled',
  async (t) => {
    const lab = await Lab.start(t);
    const heard = await lab.subscribe('cni');
    await lab.taken();
    await heard();
    const own = lab.linux.network.open();
    const link = own.link('eth0')!.index;
    own.apply({ do: 'delete_address', address: { link, family: 4, prefix: '10.0.0.100/32' } });
    own.apply({ do: 'add_address', address: { link, family: 4, prefix: '10.0.0.101/32' } });
    lab.take();
    lab.tapChanged!();
    await lab.kit.clock.advance(200);
    lab.tapChanged!();
    await lab.kit.clock.advance(99);
    t.same(lab.take(), [], 'a change is given the time to be completed');
    await lab.kit.clock.advance(1);
    t.equal(lab.take()[0], 'transact add and remove');
    const routes = lab.objects.flatMap((object) => (object.kind === 'route' ? [object.prefix] : []));
    t.ok(routes.includes('10.0.0.101/32'));
    t.notOk(routes.includes('10.0.0.100/32'));
    const [told, ...more] = (await heard()) as NodeReady[];
    t.same(more, []);
    t.ok(
      told?.uplinks?.[0]?.addresses.includes('10.0.0.101/32'),
      'what governs the host is found by its addresses',
    );
    t.notOk(told?.uplinks?.[0]?.addresses.includes('10.0.0.100/32'));
    lab.tapChanged!();
    await lab.kit.clock.advance(1000);
    t.same(lab.take(), [], 'the same again is no change');
    await lab.exited();
    const back = lab.linux.network.open();
    const addresses = back.addresses(back.link('eth0')!.index).map(({ prefix }) => prefix);
    t.ok(addresses.includes('10.0.0.101/32'), 'a restore gives the host what it has by now');
    t.notOk(addresses.includes('10.0.0.100/32'));
  },
);

t.test(
  'what the host changes while its last change is followed, or unseen before the watch, is followed too',
  async (t) => {
    const lab = await Lab.start(t);
    const own = lab.linux.network.open();
    const add = (prefix: string) => {
      const link = own.link('eth0')!.index;
      own.apply({ do: 'replace_address', address: { link, family: 4, prefix } });
    };
    // VPP is asked once more when the tap has been dressed, to raise it.
    lab.refuses = () => {
      const tap = own.link('eth0');
      if (tap?.kind === 'tun' && own.addresses(tap.index).length > 1) add('10.0.0.101/32');
      return false;
    };
    await lab.taken();
    lab.refuses = () => false;
    const followed = () => lab.linux.host.taken()!.uplinks[0]!.addresses.map(({ prefix }) => prefix);
    await lab.kit.clock.advance(300);
    t.ok(followed().includes('10.0.0.101/32'), 'although nothing was told: the first watch looks once');
    add('10.0.0.102/32');
    lab.tapChanged!();
    await lab.kit.settle();
    const { taken } = { taken: lab.linux.host.taken()! };
    await lab.kit.tell({
      type: 'Taken',
      generation: 1,
      taken: {
        captured: taken.uplinks,
        uplinks: taken.uplinks.map((each) => uplinkOf(each, true, 'main-eth0')),
      },
    });
    await lab.kit.clock.advance(300);
    t.ok(followed().includes('10.0.0.102/32'), 'the end of the follow before does not take the timer along');
    for (let i = 0; i < 4; i++) {
      if (i === 0) add('10.0.0.103/32');
      lab.tapChanged!();
      await lab.kit.clock.advance(100);
    }
    t.ok(followed().includes('10.0.0.103/32'), 'changes that do not end put nothing off');
  },
);

t.test('any number of changes at once leaves room in the mailbox for the death of VPP', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  for (let i = 0; i < 1000; i++) lab.tapChanged!();
  await lab.exited();
  t.equal(lab.state, 'linux');
  t.notOk(lab.linux.host.isChanged());
});

t.test('a tap that changes all the time is gone through for a tenth of the time at most', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  const changes = (n: number): void => {
    own.apply({ do: 'add_address', address: { link, family: 4, prefix: `10.0.0.11${n}/32` } });
    lab.take();
    lab.tapChanged!();
  };
  await lab.kit.clock.advance(1000);
  lab.slow_ms = 1000;
  changes(1);
  await lab.kit.clock.advance(1300);
  t.match(lab.take(), ['transact add']);
  lab.slow_ms = 0;
  changes(2);
  await lab.kit.clock.advance(8900);
  t.same(lab.take(), [], 'it took a second');
  await lab.kit.clock.advance(200);
  t.match(lab.take(), ['transact add']);
  changes(3);
  await lab.kit.clock.advance(300);
  t.match(lab.take(), ['transact add'], 'and then none');

  lab.slow_ms = 1000;
  changes(4);
  await lab.kit.clock.advance(1300);
  lab.slow_ms = 0;
  lab.take();
  await lab.kit.clock.advance(60_000);
  changes(5);
  await lab.kit.clock.advance(300);
  t.match(lab.take(), ['transact add'], 'the rest is over when nothing has changed for longer');

  lab.slow_ms = 1000;
  changes(6);
  await lab.kit.clock.advance(1300);
  lab.slow_ms = 0;
  changes(7);
  lab.kit.ref.tellUrgent({
    type: 'PodPrefixes',
    pods: { prefixes: ['10.1.0.0/16'], nat_outgoing: [], nodes: [], encapsulated: false },
  });
  await lab.kit.clock.advance(300);
  t.match(lab.take(), ['transact add'], 'what the cluster says does not wait for it');
});

t.test('a tap is followed in turns, behind what lies in the mailbox', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  await lab.kit.clock.advance(1000);
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  own.apply({ do: 'add_address', address: { link, family: 4, prefix: '10.0.0.111/32' } });
  lab.take();
  const { clock } = lab.kit;
  let polls = 0;
  const afterPoll = clock.afterPoll.bind(clock);
  clock.afterPoll = (run) => {
    polls += 1;
    afterPoll(run);
  };
  lab.tapChanged!();
  await clock.advance(300);
  t.match(lab.take(), ['transact add']);
  t.ok(polls >= 7, `${polls} turns`);
});

t.test('a route of a table that VPP does not know is remembered too, and nobody is disturbed', async (t) => {
  const lab = await Lab.start(t);
  const heard = await lab.subscribe('cni');
  await lab.taken();
  await heard();
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  const next_hops = [{ oif: link, gateway: '10.0.0.1' }];
  own.apply({ do: 'add_route', route: { family: 4, prefix: '10.77.0.0/16', table: 100, next_hops } });
  lab.take();
  lab.tapChanged!();
  await lab.kit.clock.advance(300);
  t.same(lab.take(), [], 'VPP is not asked');
  t.same(await heard(), []);
  await lab.exited();
  const back = lab.linux.network.open();
  const routes = back.routes({ link: back.link('eth0')!.index }).map(({ prefix }) => prefix);
  t.ok(routes.includes('10.77.0.0/16'));
});

t.test('what the host has changed a moment before the stop is what it gets back', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  const own = lab.linux.network.open();
  const link = own.link('eth0')!.index;
  own.apply({ do: 'add_address', address: { link, family: 4, prefix: '10.0.0.111/32' } });
  await lab.kit.system.stopChild('uplink');
  const back = lab.linux.network.open();
  const addresses = back.addresses(back.link('eth0')!.index).map(({ prefix }) => prefix);
  t.ok(addresses.includes('10.0.0.111/32'));
});

const routesOf = (lab: Lab): string[] => {
  const own = lab.linux.network.open();
  return own.routes({ link: own.link('eth0')!.index }).map(({ prefix }) => prefix);
};

t.test(
  'a tap that is set down is in the middle of a change: what the host had stays remembered',
  async (t) => {
    for (const end of ['VPP dies', 'stop'] as const) {
      const lab = await Lab.start(t);
      const before = lab.linux.state();
      await lab.taken();
      await lab.kit.clock.advance(1000);
      const own = lab.linux.network.open();
      own.apply({ do: 'set_link', link: own.link('eth0')!.index, up: false });
      lab.take();
      lab.tapChanged!();
      await lab.kit.clock.advance(1000);
      t.same(lab.take(), [], 'VPP keeps its routes');
      t.equal(own.link('eth0')?.up, false);
      if (end === 'stop') await lab.kit.system.stopChild('uplink');
      else await lab.exited();
      t.same(lab.linux.state(), before, end);
    }
  },
);

t.test('a last look in the middle of a change is not believed, and a lasting one is followed', async (t) => {
  const lab = await Lab.start(t);
  const before = lab.linux.state();
  const flushed = (lab: Lab) => {
    const own = lab.linux.network.open();
    const link = own.link('eth0')!.index;
    for (const route of own.routes({ link }).filter(({ prefix }) => prefix === '0.0.0.0/0'))
      own.apply({ do: 'delete_route', route });
    own.apply({ do: 'add_address', address: { link, family: 4, prefix: '10.0.0.77/24' } });
  };
  await lab.taken();
  flushed(lab);
  await lab.kit.system.stopChild('uplink');
  t.same(lab.linux.state(), before, 'at a stop');

  const next = await Lab.start(t);
  await next.taken();
  await next.kit.clock.advance(1000);
  await next.kit.tell({ type: 'VppDown', generation: 1, reason: 'EOF' });
  flushed(next);
  next.take();
  await next.up(true);
  t.same(
    next.take(),
    ['solicit behind main-eth0', 'watch eth0', 'report vpp', 'publish 10.0.0.2/24,fd00::2/64'],
    'by who resumes',
  );
  t.ok(next.linux.host.taken()!.uplinks[0]!.routes.some(({ prefix }) => prefix === '0.0.0.0/0'));
  await next.kit.clock.advance(300);
  t.notOk(next.linux.host.taken()!.uplinks[0]!.routes.some(({ prefix }) => prefix === '0.0.0.0/0'));
  await next.exited();
  t.notOk(routesOf(next).includes('0.0.0.0/0'), 'what lasts is what it wants');
});

t.test(
  'after a renumbering our own routes and neighbours on the tap are those of the new addresses',
  async (t) => {
    const lab = await Lab.start(t);
    await lab.taken();
    const own = lab.linux.network.open();
    const link = own.link('eth0')!.index;
    const next_hops = [{ oif: link, gateway: 'fd07::1' }];
    own.apply({ do: 'delete_address', address: { link, family: 6, prefix: 'fd00::2/64' } });
    own.apply({ do: 'add_address', address: { link, family: 6, prefix: 'fd07::2/64' } });
    own.apply({ do: 'replace_route', route: { family: 6, prefix: '::/0', metric: 100, next_hops } });
    lab.tapChanged!();
    await lab.kit.clock.advance(300);
    const ours = own.routes({ link }).filter(({ protocol }) => protocol === own_route_protocol);
    t.same(
      ours
        .filter(({ family }) => family === 6)
        .map(({ prefix }) => prefix)
        .sort(),
      ['fd00:96::/112', 'fd07::/64', 'fd07::1/128'],
    );
    t.ok(own.neighbours(link).some(({ address, state }) => address === 'fd07::1' && state === 0x80));
  },
);

t.test('a stop for good ends VPP, then restores the host, then tells the hooks', async (t) => {
  const lab = await Lab.start(t);
  const before = lab.linux.state();
  await lab.taken();
  lab.take();
  await lab.kit.system.stopChild('uplink');
  t.same(
    lab.take(false).filter((text) => !/^linux (set|add|append)/.test(text)),
    ['unwatch eth0', 'end VPP', 'linux move_link', 'report linux', 'hook VPP_DONE_OK'],
  );
  t.same(lab.linux.state(), before);
});

t.test('a VPP that does not end in time does not keep the host from being restored', async (t) => {
  const lab = await Lab.start(t);
  const before = lab.linux.state();
  await lab.taken();
  lab.kit.mailbox<VppProcessMessage>('process').on('Shutdown', () => undefined);
  const stopped = lab.kit.system.stopChild('uplink');
  await lab.kit.clock.advance(settings.shutdown_ms / 2);
  await stopped;
  t.same(lab.linux.state(), before);
});

t.test('a restart of the actor leaves host and VPP alone, and resumes', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  const host = lab.linux.network.snapshot();
  lab.take();
  await lab.kit.crash(new Error('defect'));
  await lab.kit.clock.advance(100);
  t.same(lab.take(false), ['unwatch eth0', 'report linux', 'subscribe']);
  lab.generation = 0;
  await lab.up(true);
  t.equal(lab.state, 'vpp');
  t.same(lab.linux.network.snapshot(), host);
});

t.test('the MTU of the tap is set back when somebody changes it', async (t) => {
  const lab = await Lab.start(t, { specs: [specOf({ mtu: 1400 })] });
  await lab.taken();
  const own = lab.linux.network.open();
  const tap = own.link('eth0')!.index;
  own.apply({ do: 'set_link', link: tap, mtu: 1500 });
  lab.tapChanged!();
  await lab.kit.settle();
  t.equal(own.link('eth0')?.mtu, 1400);
  await lab.kit.tell({ type: 'TapChanged', name: 'eth7' });
  await lab.kit.tell({ type: 'VppDown', generation: 1, reason: 'EOF' });
  own.apply({ do: 'set_link', link: tap, mtu: 1500 });
  await lab.kit.tell({ type: 'TapChanged', name: 'eth0' });
  t.equal(own.link('eth0')?.mtu, 1500, 'without VPP nothing is mended');
  await lab.exited();
  own.apply({ do: 'set_link', link: own.link('eth0')!.index, mtu: 1500 });
  await lab.kit.tell({ type: 'TapChanged', name: 'eth0' });
  t.equal(own.link('eth0')?.mtu, 1500, 'the device itself is not ours any more');
});

t.test('a default route over two uplinks is taken over, and comes back', async (t) => {
  const lab = await Lab.start(t, { specs: [specOf(), second_spec] }, ({ linux }) => {
    const own = linux.network.open();
    const hop = (name: string, gateway: string) => ({ oif: own.link(name)!.index, gateway });
    const next_hops = [hop('eth0', '10.0.0.1'), hop('eth1', '10.1.0.1')];
    own.apply({ do: 'add_route', route: { family: 4, prefix: '0.0.0.0/0', metric: 5, next_hops } });
  });
  const before = lab.linux.state();
  lab.answering = new Set(['10.0.0.1', 'fd00::1', '10.1.0.1', 'fd01::1']);
  await lab.taken();
  t.equal(lab.state, 'vpp');
  await lab.exited();
  t.same(lab.linux.state(), before);
  t.same(
    lab.reports.filter(({ state }) => state === 'failed'),
    [],
  );
  t.notOk(lab.linux.host.isChanged(), 'at the first attempt');
});

t.test('several uplinks are taken over together, and given back together', async (t) => {
  const lab = await Lab.start(t, { specs: [specOf(), second_spec] });
  const before = lab.linux.state();
  lab.answering = new Set(['10.0.0.1', 'fd00::1', '10.1.0.1', 'fd01::1']);
  await lab.taken();
  t.equal(lab.state, 'vpp');
  t.equal(lab.kit.node().gauges.uplinks, 'eth0 eth1');
  await lab.exited();
  t.same(lab.linux.state(), before);
  lab.refuses = ({ action, object }) =>
    action === 'add' && object.kind === 'af_packet' && object.host_if_name === 'eth1';
  await lab.up();
  t.same(lab.linux.state(), before, 'one that fails takes the other along');
});

t.test('buffers that the rings of uplinks and host taps keep', async (t) => {
  const uplink = (kind: string, rx_queues: number, rx_ring_size: number) => ({
    captured: { spec: { rx_queues, rx_ring_size } },
    uplink: { device: { kind } },
  });
  const taken = (...uplinks: ReturnType<typeof uplink>[]) =>
    buffersTaken(
      {
        captured: uplinks.map((one) => one.captured),
        uplinks: uplinks.map((one) => one.uplink),
      } as unknown as Taken,
      { rx_ring_size: 512 },
    );
  t.equal(taken(uplink('af_packet', 4, 1024)), 512);
  t.equal(taken(uplink('af_xdp', 2, 1024)), 512 + 2048);
  t.equal(taken(uplink('existing_interface', 1, 4096), uplink('af_packet', 1, 1024)), 2 * 512 + 4096);
});

/** What VPP says on the tap in the name of a router. */
function said(lab: Lab) {
  const of = <K extends VppObject['kind']>(kind: K) =>
    lab.objects.flatMap((object) =>
      object.kind === kind && 'interface' in object && object.interface === 'host-eth0' ? [object] : [],
    );
  return {
    router: of('link_local').map((object) => object.kind === 'link_local' && object.address),
    config: of('ra_config').map(
      ({ kind: _, interface: __, ...config }: VppObject & { interface?: string }) => config,
    ),
    prefixes: of('ra_prefix').map(
      (object) => object.kind === 'ra_prefix' && [object.prefix, object.valid_s, object.preferred_s],
    ),
  };
}

const word: RouterAdvertisement = {
  router: 'fe80::a',
  lifetime_s: 1800,
  managed: true,
  other: false,
  prefixes: [
    { prefix: 'fd55::/64', on_link: true, autonomous: true, valid_s: 7200, preferred_s: 3600 },
    { prefix: 'fe80::/64', on_link: true, autonomous: true, valid_s: 7200, preferred_s: 3600 },
    { prefix: 'fd56::/64', on_link: true, autonomous: true, valid_s: 10, preferred_s: 3600 },
  ],
};

const hears = (lab: Lab, advertisement: RouterAdvertisement, generation = 1, tag = 'main-eth0') =>
  lab.kit.tell({ type: 'RouterSaid', generation, interface: tag, advertisement });

t.test('what a router says VPP tells the host again, and what it says no more, too', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  t.same(said(lab), { router: [], config: [], prefixes: [] });
  lab.take();
  await hears(lab, word);
  await hears(lab, word);
  await hears(lab, word, 7);
  await hears(lab, word, 1, 'main-eth9');
  await lab.kit.clock.advance(1000);
  t.same(said(lab), {
    router: ['fe80::a'],
    config: [{ lifetime_s: 1800, managed: true, other: false }],
    prefixes: [['fd55::/64', 7200, 3600]],
  });
  t.same(lab.take(), ['transact add'], 'one transaction for all that was said in a moment');

  await hears(lab, word);
  await lab.kit.clock.advance(1000);
  t.same(lab.take(), ['transact add'], 'lifetimes begin anew each time that they are said');
  await lab.kit.clock.advance(60_000);
  t.same(lab.take(), []);

  await hears(lab, { ...word, lifetime_s: 0, managed: false, prefixes: [] });
  await lab.kit.clock.advance(1000);
  t.match(said(lab), {
    config: [{ lifetime_s: 0, managed: false, other: false }],
    prefixes: [['fd55::/64', 7200, 3600]],
  });

  await hears(lab, word);
  await lab.kit.clock.advance(1000);
  lab.take();
  await lab.kit.clock.advance(1_799_000);
  t.match(said(lab), { config: [{ lifetime_s: 0 }] }, 'a router that is silent for as long is none any more');
  t.same(lab.take(), ['transact add']);

  await lab.exited();
  t.same(lab.objects, []);
  await lab.taken();
  t.match(
    said(lab),
    { router: ['fe80::a'], config: [{ lifetime_s: 0 }], prefixes: [['fd55::/64', 5400, 1800]] },
    'the next VPP says what is known, and what is left of it',
  );
});

t.test('what routers say, and VPP refuses, costs no node its VPP', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  await hears(lab, word);
  await lab.kit.clock.advance(1000);
  lab.refuses = ({ object }) =>
    ['ra_prefix', 'ra_config'].includes(object.kind) || object.kind === 'link_local';
  await lab.exited();
  lab.refuses = ({ object }) =>
    ['ra_prefix', 'ra_config'].includes(object.kind) ||
    (object.kind === 'link_local' && object.interface === 'host-eth0');
  await lab.taken();
  t.equal(lab.state, 'vpp');
});

t.test('what VPP has perhaps not heard is told again', async (t) => {
  const lab = await Lab.start(t);
  await lab.taken();
  lab.lost = 'no answer';
  await hears(lab, word);
  await lab.kit.clock.advance(1000);
  t.same(said(lab).config, []);
  lab.lost = undefined;
  await lab.kit.clock.advance(5000);
  t.match(said(lab).config, [{ lifetime_s: 1800 }]);
});

t.test('what VPP has lost, or has perhaps not been told, is read and put right', async (t) => {
  const isGone = (object: VppObject) =>
    object.kind === 'interface_address' || object.kind === 'punt_redirect';
  const held = (lab: Lab) => lab.objects.map(keyOf).sort();
  const scene = async () => {
    const lab = await Lab.start(t);
    await lab.taken();
    await lab.kit.clock.advance(1000);
    return lab;
  };
  await t.test('nobody reads without a cause', async (t) => {
    const lab = await scene();
    const { readings } = lab;
    await hears(lab, word);
    await lab.kit.clock.advance(100_000);
    t.equal(lab.readings, readings);
  });
  await t.test('an answer shows that it is lost', async (t) => {
    const lab = await scene();
    const before = held(lab);
    lab.objects = lab.objects.filter((object) => !isGone(object));
    t.ok(lab.objects.length < before.length - 1);
    lab.lost_state = true;
    await hears(lab, word);
    await lab.kit.clock.advance(5000);
    t.strictSame(
      before.filter((key) => !held(lab).includes(key)),
      [],
    );
    const { readings } = lab;
    await lab.kit.clock.advance(100_000);
    t.equal(lab.readings, readings, 'once');
  });
  await t.test('no answer has come, and it was carried out all the same', async (t) => {
    const lab = await scene();
    const before = held(lab);
    lab.lost = 'no answer';
    await hears(lab, word);
    await lab.kit.clock.advance(1000);
    lab.objects = lab.objects.filter((object) => !isGone(object));
    lab.lost = undefined;
    await lab.kit.clock.advance(5000);
    t.strictSame(
      before.filter((key) => !held(lab).includes(key)),
      [],
    );
    t.match(said(lab).config, [{ lifetime_s: 1800 }]);
  });
  await t.test(
    'it was refused, and the node cannot do without: tried again, by and by less often',
    async (t) => {
      const lab = await scene();
      const before = held(lab);
      lab.objects = lab.objects.filter((object) => !isGone(object));
      lab.refuses = ({ object }) => isGone(object);
      lab.lost_state = true;
      await hears(lab, word);
      const { readings } = lab;
      await lab.kit.clock.advance(100_000);
      const tried = lab.readings - readings;
      t.ok(tried > 10 && tried < 40, `${tried} times`);
      t.equal(lab.state, 'vpp');
      lab.refuses = () => false;
      await lab.kit.clock.advance(5000);
      t.strictSame(
        before.filter((key) => !held(lab).includes(key)),
        [],
      );
    },
  );
});

t.test('a fresh process leaves what VPP tells the host until a router says otherwise', async (t) => {
  const lab = await adopted(t, 'complete');
  const wanted: VppObject[] = [
    { kind: 'link_local', interface: 'host-eth0', address: 'fe80::a' },
    { kind: 'ra_config', interface: 'host-eth0', lifetime_s: 1800, managed: false, other: true },
    {
      kind: 'ra_prefix',
      interface: 'host-eth0',
      prefix: 'fd55::/64',
      on_link: true,
      autonomous: true,
      valid_s: 7200,
      preferred_s: 3600,
    },
  ];
  const isSilence = (object: VppObject) =>
    object.kind === 'interface_flag' && object.interface === 'host-eth0' && object.flag === 'ra_suppressed';
  lab.objects = [...lab.objects.filter((object) => !isSilence(object)), ...wanted];
  await lab.up(true);
  await lab.kit.clock.advance(2000);
  t.same(
    lab.take().filter((text) => text.startsWith('transact')),
    [],
  );
  await hears(lab, { ...word, lifetime_s: 600 });
  await lab.kit.clock.advance(1000);
  t.match(said(lab), { router: ['fe80::a'], config: [{ lifetime_s: 600, managed: true }] });
});

/** None that VPP does not know. */
const features = '0'.repeat(64);

const nic: FakePciDevice = {
  address: '0000:00:03.0',
  driver: 'virtio-pci',
  group: '5',
  link: { name: 'eth0', mac: macs[0]! },
};

/** A node whose uplink is a PCI device, and asked for in this way. */
async function withDevice(
  t: Teardown & { testdir(): string },
  spec: Partial<UplinkSpec>,
  device: FakePciDevice = nic,
): Promise<Lab> {
  const pci = new FakePci(t.testdir(), new FakeHostNetwork());
  const own = { ...specOf(spec) };
  if (own.driver === undefined) delete (own as { driver?: unknown }).driver;
  return Lab.start(t, { specs: [own] }, () => undefined, Object.assign(pci, { afterwards: device }));
}

/** Turns the clock until it is so; what is read of the fake machine is read between two turns. */
async function until(lab: Lab, isSo: () => boolean): Promise<void> {
  for (let n = 0; n < 400 && !isSo(); n++) {
    // What is read of sysfs comes by the thread pool: the clock is not to run ahead of it.
    for (let turn = 0; turn < 10; turn++) await stat('/');
    await lab.kit.clock.advance(50);
  }
}

t.test('an uplink whose device leaves its kernel driver', async (t) => {
  const lab = await withDevice(t, { driver: 'virtio' });
  await lab.up();
  await until(lab, () => lab.state === 'vpp');
  t.equal(lab.state, 'vpp');
  t.equal(lab.pci!.driverOf(nic.address), 'vfio-pci');
  t.match(
    lab.objects.find(({ kind }) => kind === 'virtio'),
    { pci: nic.address, tag: 'main-eth0' },
  );
  await lab.exited();
  await until(lab, () => !lab.linux.host.isChanged());
  t.equal(lab.pci!.driverOf(nic.address), 'virtio-pci');
  t.equal(lab.linux.network.open().link('eth0')?.kind, undefined, 'Linux has it back');
  t.notOk(lab.linux.host.isChanged());
});

t.test('it is told, and shown, where VPP polls a device from another NUMA node', async (t) => {
  const lab = await withDevice(t, { driver: 'virtio' }, { ...nic, numa: 1 });
  const told = (): readonly string[] =>
    lab.kit.log.lines.filter(({ level }) => level === 'warn').map(({ text }) => text);
  lab.threads = { workers: 0, numa: [0] };
  await lab.up();
  await until(lab, () => lab.state === 'vpp');
  t.match(told().join(), /eth0: VPP's main thread polls it from NUMA node 0/);
  lab.threads = { workers: 2, numa: [1, 0, 1] };
  const queue = { kind: 'rx_placement', interface: 'main-eth0', queue_id: 0, worker_id: 0 } as const;
  lab.objects = [...lab.objects, queue];
  await lab.up(true);
  await until(lab, () => told().some((text) => /queue 0 by worker 0 from NUMA node 0/.test(text)));
  t.match(lab.kit.node().gauges.slower, /^eth0: VPP polls queue 0 by worker 0 from NUMA node 0/);
});

t.test('a driver whose device another program keeps from VPP is not chosen, and costs nothing', async (t) => {
  const lab = await withDevice(t, { driver: undefined as never }, { ...nic, features });
  lab.pci!.hold(4711, 'qemu-system-x86', 'vfio/5');
  await lab.up();
  await until(lab, () => lab.state === 'vpp');
  t.equal(lab.state, 'vpp');
  t.match(lab.linux.host.taken()?.uplinks, [
    { driver: 'af_packet', passed_over: { virtio: /IOMMU group 5, which qemu-system-x86 \(process 4711\)/ } },
  ]);
  t.same(lab.pci!.writes, []);

  await lab.exited();
  await until(lab, () => !lab.linux.host.isChanged());
  await lab.up();
  await until(lab, () => lab.state === 'vpp');
  t.match(lab.linux.host.taken()?.uplinks, [
    { driver: 'af_packet', passed_over: { virtio: /process 4711/ } },
  ]);
  t.same(lab.pci!.writes, [], 'which has it still');

  await lab.exited();
  await until(lab, () => !lab.linux.host.isChanged());
  lab.pci!.letGo(4711);
  await lab.up();
  await until(lab, () => lab.state === 'vpp');
  t.equal(lab.state, 'vpp');
  t.match(lab.linux.host.taken()?.uplinks, [{ driver: 'virtio', passed_over: {} }], 'it was never tried');
  t.equal(lab.pci!.driverOf(nic.address), 'vfio-pci');
});

t.test(
  'a driver that was chosen and came to nothing makes room for the next one, in the same VPP or the next',
  async (t) => {
    for (const holds of [false, true]) {
      const lab = await withDevice(t, { driver: undefined as never }, { ...nic, features });
      lab.refuses = ({ object }) => object.kind === 'virtio';
      if (holds)
        lab.refuses = ({ object }) => {
          if (object.kind !== 'virtio') return false;
          lab.pci!.hold(77, 'vpp_main', 'vfio/5');
          return true;
        };
      await lab.up();
      await until(lab, () => lab.effects.some((text) => text.startsWith('replace')) || lab.state === 'vpp');
      t.equal(
        lab.effects.some((text) => text.startsWith('replace vpp 1: vpp_main (process 77)')),
        holds,
      );
      if (holds) {
        t.equal(lab.pci!.driverOf(nic.address), 'vfio-pci', 'nothing is taken from a VPP that has it open');
        lab.pci!.letGo(77);
        await lab.exited('replaced');
        await until(lab, () => !lab.linux.host.isChanged());
        t.equal(lab.pci!.driverOf(nic.address), 'virtio-pci');
        await lab.up();
      }
      await until(lab, () => lab.state === 'vpp');
      t.equal(lab.state, 'vpp');
      const [taken] = lab.linux.host.taken()!.uplinks;
      t.match(taken, { driver: 'af_packet', passed_over: { virtio: /it was tried: VPP refused to add/ } });
      t.equal(lab.pci!.driverOf(nic.address), 'virtio-pci');

      lab.refuses = () => false;
      await lab.exited();
      await until(lab, () => !lab.linux.host.isChanged());
      await lab.up();
      await until(lab, () => lab.state === 'vpp');
      t.match(lab.linux.host.taken()?.uplinks, [{ driver: 'af_packet' }], 'each at most once');
    }
  },
);

t.test('what VPP finds only when it starts: it is given the device, and begins anew', async (t) => {
  const device = { ...nic, driver: 'e1000e', vendor: '8086', device: '10d3' };
  const lab = await withDevice(t, { driver: 'dpdk' }, device);
  await lab.up();
  await until(lab, () => lab.effects.some((text) => text.startsWith('replace')));
  t.ok(lab.effects.includes('replace vpp 1: it finds the uplinks when it starts'));
  t.equal(lab.pci!.driverOf(nic.address), 'vfio-pci');
  t.same([...lab.linux.host.takeForNextVpp()], ['eth0'], 'its start-up file names the device');
  await lab.exited('replaced');
  await lab.kit.clock.advance(100);
  t.equal(lab.pci!.driverOf(nic.address), 'vfio-pci', 'the device stays where it is meanwhile');
  lab.objects = [{ kind: 'existing_interface', tag: 'main-eth0' }];
  await lab.up(false);
  await until(lab, () => lab.state === 'vpp');
  t.equal(lab.state, 'vpp');
  // The next death is one like any other.
  await lab.exited();
  await until(lab, () => lab.pci!.driverOf(nic.address) === 'e1000e' && !lab.linux.host.isChanged());
  t.equal(lab.pci!.driverOf(nic.address), 'e1000e');
  t.notOk(lab.linux.host.isChanged());
});

t.test(
  'a process that dies between the device and the VPP that begins with it: the next one gives it back and begins anew',
  async (t) => {
    const device = { ...nic, driver: 'e1000e', vendor: '8086', device: '10d3' };
    const dies = async (): Promise<Lab> => {
      const lab = await withDevice(t, { driver: 'dpdk' }, device);
      const { host } = lab.linux;
      await host.take(host.capture([specOf({ driver: 'dpdk' })]));
      t.equal(lab.pci!.driverOf(nic.address), 'vfio-pci');
      return lab;
    };
    // VPP lives, and has never heard of the device.
    const lab = await dies();
    let between: string | undefined;
    lab.during.BEFORE_IF_READ = () => {
      between = lab.pci!.driverOf(nic.address);
    };
    await lab.up(true);
    await until(lab, () => lab.effects.some((text) => text.startsWith('replace')));
    t.equal(between, 'e1000e', 'Linux has it meanwhile');
    t.ok(lab.effects.includes('replace vpp 1: it finds the uplinks when it starts'));
    t.same([...lab.linux.host.takeForNextVpp()], ['eth0']);

    // The next VPP has begun with it, and the process died before the host had its tap.
    const late = await dies();
    late.pci!.hold(77, 'vpp_main', 'vfio/5');
    late.objects = [{ kind: 'existing_interface', tag: 'main-eth0' }];
    await late.up(true);
    await until(late, () => late.effects.some((text) => text.startsWith('replace')));
    t.ok(late.effects.some((text) => text.startsWith('replace vpp 1: vpp_main (process 77) has')));
    late.pci!.letGo(77);
    await late.exited('replaced');
    await until(late, () => !late.linux.host.isChanged());
    t.equal(late.pci!.driverOf(nic.address), 'e1000e');
    t.equal(late.linux.network.open().link('eth0')?.kind, undefined);

    // No VPP is left: at once.
    const none = await dies();
    await none.exited();
    await until(none, () => !none.linux.host.isChanged());
    t.equal(none.pci!.driverOf(nic.address), 'e1000e');
  },
);

t.test(
  'a VPP that does not come back with the device that it was given costs the host its network no longer than that',
  async (t) => {
    const device = { ...nic, driver: 'e1000e', vendor: '8086', device: '10d3' };
    const lab = await withDevice(t, { driver: 'dpdk' }, device);
    await lab.up();
    await until(lab, () => lab.effects.some((text) => text.startsWith('replace')));
    await lab.exited('replaced');
    lab.running = false;
    await lab.kit.clock.advance(39_000);
    t.ok(lab.linux.host.isChanged(), 'it has its time');
    await lab.kit.clock.advance(1000);
    await until(lab, () => !lab.linux.host.isChanged());
    t.notOk(lab.linux.host.isChanged());
    t.equal(lab.pci!.driverOf(nic.address), 'e1000e');
  },
);

t.test('a card that its kernel driver has left has its time until its link is there', async (t) => {
  const given = async (): Promise<Lab> => {
    const lab = await withDevice(t, { driver: 'virtio' });
    lab.answering.delete('10.0.0.1');
    await lab.up(false);
    await until(lab, () => lab.pci!.driverOf(nic.address) === 'vfio-pci');
    await until(lab, () => lab.take().includes('nudge 10.0.0.1'));
    return lab;
  };
  const pass = async (lab: Lab, ms: number): Promise<void> => {
    const end_ms = lab.kit.clock.now_ms() + ms;
    await until(lab, () => lab.kit.clock.now_ms() >= end_ms);
  };
  const lab = await given();
  await pass(lab, 6000);
  t.equal(lab.pci!.driverOf(nic.address), 'vfio-pci');
  lab.answering.add('10.0.0.1');
  await until(lab, () => lab.state === 'vpp');
  t.equal(lab.state, 'vpp');
  const silent = await given();
  await pass(silent, 11_000);
  t.match(silent.reports.at(-1), { reason: /does not answer VPP/ });
});

t.test(
  'a VPP that still starts with the device when its time is up is ended before Linux has it',
  async (t) => {
    const device = { ...nic, driver: 'e1000e', vendor: '8086', device: '10d3' };
    const lab = await withDevice(t, { driver: 'dpdk' }, device);
    await lab.up();
    const replaced = (): number => lab.effects.filter((text) => text.startsWith('replace')).length;
    await until(lab, () => replaced() === 1);
    await lab.exited('replaced');
    lab.running = true;
    await lab.kit.clock.advance(40_000);
    await until(lab, () => replaced() === 2);
    t.match(
      lab.effects.at(-1),
      /replace whichever: VPP did not come back with the uplinks .* within 40 s; .*CONNECT_TIMEOUT/,
    );
    t.equal(lab.pci!.driverOf(nic.address), 'vfio-pci', 'it would take it from Linux');
    await lab.exited('replaced');
    await until(lab, () => !lab.linux.host.isChanged());
    t.equal(lab.pci!.driverOf(nic.address), 'e1000e');
    t.match(lab.state, 'linux');
  },
);

t.test('an interface of VPP’s own start-up files that is not there costs the host nothing', async (t) => {
  const lab = await withDevice(t, { driver: 'none' });
  await lab.up(false);
  const reason = (): string => `${lab.kit.node().gauges.reason}`;
  await until(lab, () => /no interface with the tag main-eth0/.test(reason()));
  t.match(reason(), /no interface with the tag main-eth0.*CALICOVPP_CONFIG_EXEC_TEMPLATE/);
  t.notOk(lab.linux.host.isChanged());
  lab.objects = [{ kind: 'existing_interface', tag: 'main-eth0' }];
  await until(lab, () => lab.state === 'vpp');
  t.equal(lab.state, 'vpp', 'once it is made');
});

t.test('an interface of VPP’s own start-up files stays, whatever device it is of', async (t) => {
  for (const kind of ['virtio', 'vmxnet3', 'rdma', 'dev_port', 'af_packet', 'af_xdp'] as const) {
    const lab = await withDevice(t, { driver: 'none' });
    const made = { kind, tag: 'main-eth0' } as VppObject;
    lab.objects = [made];
    await lab.up(false);
    await until(lab, () => lab.state === 'vpp');
    t.equal(lab.state, 'vpp', kind);
    t.ok(lab.objects.includes(made), `${kind}: as it is taken over`);
    await lab.kit.clock.advance(1000);
    await lab.up(true);
    await until(lab, () => lab.state === 'vpp');
    t.ok(lab.objects.includes(made), `${kind}: as VPP is adopted`);
  }
});
