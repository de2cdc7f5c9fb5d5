/**
 * The Linux side of the uplinks: reads them, gives them to VPP, and undoes it all. Every change has its undo in the journal, on the disk,
 * before it is made. The taps that stand in for them: host-taps.ts.
 */
import type { UplinkSpec } from '../config.js';
import {
  driverOverride,
  holdersOf,
  user_space_drivers,
  virtualFunctions,
} from '../host/devices/pci-driver.js';
import { type MachineFacts, machineFacts } from '../host/devices/pci-facts.js';
import { driverOf } from '../host/devices/sysfs.js';
import { type UndoReport, undo } from '../host/undo/undo.js';
import type { UndoJournal } from '../host/undo/undo-journal.js';
import type { UndoTools } from '../host/undo/undo-session.js';
import { identityOf, isOfServices, type UndoStep } from '../host/undo/undo-step.js';
import type { HostNetwork, Neighbour, NetworkNamespace } from '../linux/network.js';
import { within } from '../linux/within.js';
import { captureUplink, heardOn, hostAddresses, isOld } from './capture-uplink.js';
import type { CapturedStore, CapturedUplink, Phase } from './captured.js';
import { Tried } from './choice.js';
import { driverFor } from './drivers.js';
import { changeDevice, moveDevice, prepareLink, silence, type VppSide } from './give-device.js';
import { HostTaps } from './host-taps.js';
import { type HeardNeighbour, introduced_max } from './known-neighbours.js';
import { collisionsOf } from './one-device.js';
import { heldByOthers } from './pci-needs.js';
import { stepsOf, withState } from './undo-of-uplink.js';
import { UplinkError } from './uplink-error.js';
import { gatewaysOf } from './uplink-of.js';

/** The kernel makes these in every namespace by itself. */
const fallback_devices = /^(lo|(ip6?_vti|ip6?gre|gre|gretap|erspan|tunl|sit|ip6tnl)0)$/;

/**
 * Which of the pending steps an undo takes. `in time`: not those that ran out of time, which is no use twice in one and the same end. `hopeful`: none
 * of services of the host that failed, each of which costs the host's links a moment: they wait for the end, or for VPP's next death.
 */
export type Due = 'all' | 'in time' | 'hopeful';

export class UplinkHost {
  /** Steps of services of the host that came to nothing when they were taken last, as JSON: there are few of them. */
  private readonly vain = new Map<string, 'failed' | 'timed out'>();
  /** The undo under way, and behind it those that wait for it: one at a time, for each has the journal in its hands. */
  private undoing: Promise<void> | undefined;
  readonly taps: HostTaps;
  /** Drivers that were chosen and came to nothing, or whose device another program has. */
  private readonly tried = new Tried();
  /** Names of uplinks whose devices the next VPP is to find when it starts. Of this life of the process alone: one that ends gives them back. */
  private for_next_vpp: ReadonlySet<string> = new Set();

  constructor(
    private readonly host: HostNetwork,
    private readonly journal: UndoJournal,
    private readonly captured: CapturedStore,
    private readonly tools: UndoTools,
    /** Path of the network namespace that VPP lives in. */
    private readonly vpp_netns: string,
    /** VPP serves services. */
    private readonly serves = false,
    /** Pods may send segments larger than a packet. */
    private readonly gso = true,
    /** Of VPP and its start-up file. */
    private readonly vpp_facts: Partial<MachineFacts> = {},
  ) {
    this.taps = new HostTaps(host, () => this.undoing === undefined, serves);
  }

  /** Something of the host is changed and not undone. */
  isChanged(): boolean {
    return this.journal.pending().length > 0;
  }

  /** Why it is not known what else of the host is changed, if so: the journal could not be read. */
  unknown(): string | undefined {
    return this.journal.unreadable;
  }

  /** The uplinks of the take-over that is in force, or that broke off. */
  taken(): { readonly phase: Phase; readonly uplinks: readonly CapturedUplink[] } | undefined {
    return this.captured.load();
  }

  /** `before`: whose leases the uplinks still have, also where they lack them. Throws UplinkError. */
  capture(specs: readonly UplinkSpec[], before?: readonly CapturedUplink[]): CapturedUplink[] {
    const { tried, gso } = this;
    const { roots } = this.tools;
    const machine = { ...machineFacts(roots), ...this.vpp_facts };
    return this.inHost((namespace) => {
      const captured = specs.map((spec, at) =>
        captureUplink(
          namespace,
          spec,
          { machine, gso, failed: tried.of(spec), ...(roots && { roots }) },
          before?.[at],
        ),
      );
      mustBeApart(captured);
      const host_addresses = hostAddresses(namespace, captured, this.serves);
      return captured.map((each) => ({
        ...each,
        others: knownByUplinks(each.others, captured),
        ...(each.spec.is_main && { host_addresses }),
      }));
    });
  }

  /** Has the kernel ask those neighbours, gateways first, who answered long ago: by itself it would trust them for some seconds more. */
  probe(captured: readonly CapturedUplink[]): void {
    this.inHost((namespace) => {
      const known = captured.flatMap((uplink) => {
        const gateways = new Set(gatewaysOf(uplink));
        const old = namespace.neighbours(uplink.link.index).filter(isOld);
        const isGateway = ({ address }: Neighbour): boolean => gateways.has(address);
        return [...old.filter(isGateway), ...old.filter((each) => !isGateway(each))].slice(0, introduced_max);
      });
      // One that is gone meanwhile is asked for by whoever sends to it.
      namespace.batch(known.map((neighbour) => ({ do: 'probe_neighbour', neighbour })));
    });
  }

  /** Who has answered Linux behind this uplink. */
  heard({ link }: CapturedUplink): HeardNeighbour[] {
    return this.inHost((namespace) => heardOn(namespace, link.index));
  }

  /**
   * After the journal, or a part of it, was lost: the uplinks as they were captured tell what is pending. Answers the names of those that
   * it knows nothing of.
   */
  recoverJournal(): string[] {
    const pending = this.journal.pending();
    const isKnown = ({ link: { name } }: CapturedUplink) =>
      pending.some((step) => step.kind === 'link_to_netns' && step.link.name === name);
    const lost = (this.captured.load()?.uplinks ?? []).filter((uplink) => !isKnown(uplink));
    if (lost.length === 0) return [];
    const steps = lost.flatMap((uplink) =>
      stepsOf(uplink, this.vpp_netns, driverFor(uplink).prepare({ ...uplink, gso: false })),
    );
    this.journal.restart([...pending, ...steps]);
    return lost.map(({ link }) => link.name);
  }

  /**
   * Brings back what is left in VPP's namespace and no journal tells of: it would be lost with it, and its addresses nobody knows. `names`:
   * while VPP lives, which may have devices of its own, those of these names that the host lacks. Answers who came back.
   */
  async rescue(names?: readonly string[]): Promise<string[]> {
    return this.oneByOne(() => this.bringBack(names));
  }

  private async bringBack(names: readonly string[] | undefined): Promise<string[]> {
    const left = this.inHost((namespace) =>
      this.strays().filter(
        (name) => names === undefined || (names.includes(name) && namespace.link(name) === undefined),
      ),
    );
    for (const name of left) {
      const link = this.inVpp((namespace) => namespace.link(name));
      if (link === undefined) continue;
      const identity = identityOf(link);
      await undo(
        [
          { kind: 'set_link', link: identity, up: true, promisc: false },
          { kind: 'link_to_netns', link: identity, from: this.vpp_netns },
        ],
        this.tools,
      );
    }
    const still = this.strays();
    return left.filter((name) => !still.includes(name));
  }

  /**
   * Gives the devices to VPP, but for those that VPP has to have before: `move` is for them. Throws UplinkError, or what Linux answered; the caller
   * then restores. Nothing is given back meanwhile: the caller waits for its end. Answers the uplinks with all that their undo takes.
   */
  async take(uplinks: readonly CapturedUplink[], signal?: AbortSignal): Promise<CapturedUplink[]> {
    this.mustBeQuiet();
    this.inVpp(silence);
    const whole: CapturedUplink[] = [];
    for (const uplink of uplinks)
      whole.push(this.leavesDriver(uplink) ? await this.withOverride(uplink) : uplink);
    signal?.throwIfAborted();
    this.captured.save('taking', whole);
    for (const uplink of whole) {
      signal?.throwIfAborted();
      await this.takeOne(uplink, signal);
    }
    return whole;
  }

  /** The PCI device of the uplink itself is to have another kernel driver. */
  private leavesDriver(uplink: CapturedUplink): boolean {
    const changes = driverFor(uplink).prepare({ ...uplink, gso: this.gso });
    return changes.some((change) => change.do === 'bind' && change.pci === uplink.pci?.address);
  }

  /** Of a device that is to have another kernel driver: what an administrator wants to drive it. */
  private async withOverride(uplink: CapturedUplink): Promise<CapturedUplink> {
    const { pci } = uplink;
    if (pci === undefined) return uplink;
    const { override: _, ...rest } = pci;
    const override = await driverOverride(pci.address, this.tools);
    return { ...uplink, pci: { ...rest, ...(override !== undefined && { override }) } };
  }

  /** Devices that VPP has attached by their name, which was the host's until now. */
  moveAttached(uplinks: readonly CapturedUplink[]): void {
    for (const uplink of uplinks)
      if (driverFor(uplink).attaches_before_move)
        this.inHost((namespace) => moveDevice(namespace, uplink, this.vppSide()));
  }

  /** VPP is ended, and the next one is to find these devices when it starts. */
  giveToNextVpp(uplinks: readonly CapturedUplink[]): void {
    this.for_next_vpp = new Set(uplinks.map(({ spec }) => spec.interface_name));
  }

  /** Answers once: one start of VPP, and no other, which may come while Linux gets them back. */
  takeForNextVpp(): ReadonlySet<string> {
    const names = this.for_next_vpp;
    this.for_next_vpp = new Set();
    return names;
  }

  /** A take-over begins: drivers that were passed over because of another program are looked at again. */
  newAttempt(): void {
    this.tried.newAttempt();
  }

  /**
   * Throws UplinkError where another program has what VPP is to get. A driver that was chosen is passed over then, until the next attempt: false, and
   * what was captured is captured anew. Nothing is touched.
   */
  async mustBeFree(uplinks: readonly CapturedUplink[]): Promise<boolean> {
    let are_free = true;
    for (const uplink of uplinks) {
      if (!this.leavesDriver(uplink)) continue;
      const { spec, link, driver, pci } = uplink;
      const holders = await holdersOf(pci?.address ?? '', this.tools.roots);
      const [found] = heldByOthers(uplink, holders);
      if (found === undefined) continue;
      const { what, why, step } = found;
      if (driver === undefined) throw new UplinkError(`uplink ${link.name} ${what}: ${why}; ${step}`);
      this.tried.held(spec, driver, `the device ${what}: ${why}`);
      are_free = false;
    }
    return are_free;
  }

  /** The take-over with drivers that were chosen came to nothing: the next capture chooses others. */
  cameToNothing(uplinks: readonly CapturedUplink[], why: string): void {
    for (const { spec, driver } of uplinks)
      if (driver !== undefined) this.tried.failed(spec, driver, `it was tried: ${why}`);
  }

  /** PCI devices that Linux is to have back and that a program has open: what is said of them, by process. */
  async held(): Promise<readonly string[]> {
    const { roots } = this.tools;
    const bound = this.journal
      .pending()
      .flatMap((step) => {
        if (step.kind === 'bind_driver') return [step.pci];
        // Those that were made for VPP: a card had none before.
        return step.kind === 'sriov_vfs' ? virtualFunctions(step.pci, roots) : [];
      })
      .filter((pci) => user_space_drivers.includes(driverOf(pci, roots) ?? ''));
    const holders = await Promise.all(
      [...new Set(bound)].map(async (pci) =>
        (await holdersOf(pci, roots)).map(({ name, pid }) => `${name} (process ${pid}) has ${pci} open`),
      ),
    );
    return holders.flat();
  }

  /** The take-over is complete: from now on it is resumed, and not undone, by a process that finds it. */
  complete(uplinks: readonly CapturedUplink[]): void {
    this.mustBeQuiet();
    this.captured.save('taken', uplinks);
  }

  /** What the host wants has changed: a restore gives it this. Throws when it cannot be written; the old holds then. */
  remember(uplinks: readonly CapturedUplink[]): void {
    this.mustBeQuiet();
    let steps = this.journal.pending();
    for (const uplink of uplinks) steps = withState(steps, uplink, this.vpp_netns);
    this.journal.replace(steps);
    this.captured.save('taken', uplinks);
  }

  /** Behind these uplinks routers have been heard: see `CapturedUplink.heard`. Of a take-over that is complete; else it comes with that. */
  rememberHeard(names: ReadonlySet<string>): void {
    const found = this.captured.load();
    if (found?.phase !== 'taken' || found.uplinks.every(({ heard, link }) => heard || !names.has(link.name)))
      return;
    this.mustBeQuiet();
    this.captured.save(
      'taken',
      found.uplinks.map((uplink) => (names.has(uplink.link.name) ? { ...uplink, heard: true } : uplink)),
    );
  }

  /** Linux as it was. Can be repeated; what fails stays in the journal for the next attempt. */
  async restore(due: Due = 'all'): Promise<UndoReport> {
    this.for_next_vpp = new Set();
    // Behind another undo, which was just waited for, what ran out of time in that is no use either.
    const is_second = this.undoing !== undefined && due === 'all';
    return this.oneByOne(() => this.undoPending(is_second ? 'in time' : due));
  }

  /** Resolves when no undo is under way. */
  async quiet(): Promise<void> {
    while (this.undoing !== undefined) await this.undoing;
  }

  private async undoPending(due: Due): Promise<UndoReport> {
    const isDue = (step: UndoStep): boolean => {
      const vain = due === 'all' ? undefined : this.vain.get(JSON.stringify(step));
      return vain === undefined || (due === 'in time' && vain === 'failed');
    };
    const steps = this.journal.pending().filter(isDue);
    const report = await undo(steps, this.tools);
    for (const result of report.results.filter(({ step }) => isOfServices(step))) {
      const text = JSON.stringify(result.step);
      if (result.outcome === 'failed') this.vain.set(text, result.timed_out ? 'timed out' : 'failed');
      else this.vain.delete(text);
    }
    const failed = new Set(report.remaining);
    const done = new Set(steps.filter((step) => !failed.has(step)));
    const remaining = this.journal.pending().filter((step) => !done.has(step));
    try {
      // First the captured uplinks: without a journal they would be given back once more.
      if (remaining.every(isOfServices)) this.captured.clear();
      this.journal.undone(done);
    } catch {
      // On a disk that takes nothing all steps stay pending; to take them again is harmless.
    }
    return { ...report, remaining };
  }

  private oneByOne<T>(run: () => Promise<T>): Promise<T> {
    const mine = this.undoing === undefined ? run() : this.undoing.then(run);
    const ended: Promise<void> = mine
      .catch(() => undefined)
      .then(() => {
        if (this.undoing === ended) this.undoing = undefined;
      });
    this.undoing = ended;
    return mine;
  }

  /** While the host is being given back nothing of it is taken or remembered: the undo would take it for its own. */
  private mustBeQuiet(): void {
    if (this.undoing !== undefined)
      throw new UplinkError('the host is still being given back: this is for when that is done');
  }

  /** Links in VPP's namespace that would be destroyed with it. */
  strays(): string[] {
    if (!this.host.exists(this.vpp_netns)) return [];
    return this.inVpp((namespace) => namespace.links().map(({ name }) => name)).filter(
      (name) => !fallback_devices.test(name),
    );
  }

  private inHost<T>(run: (namespace: NetworkNamespace) => T): T {
    return within(this.host.open(), run);
  }

  private inVpp<T>(run: (namespace: NetworkNamespace) => T): T {
    return within(this.host.open(this.vpp_netns), run);
  }

  private vppSide(): VppSide {
    return { path: this.vpp_netns, within: (run) => this.inVpp(run) };
  }

  private async takeOne(uplink: CapturedUplink, signal: AbortSignal | undefined): Promise<void> {
    const { name } = uplink.link;
    const driver = driverFor(uplink);
    const changes = driver.prepare({ ...uplink, gso: this.gso });
    const inHost = (run: (namespace: NetworkNamespace) => void): void => this.inHost(run);
    inHost((namespace) => {
      if (namespace.link(name) === undefined)
        throw new UplinkError(`uplink ${name} vanished before it was taken over`);
      this.journal.record(stepsOf(uplink, this.vpp_netns, changes));
      prepareLink(namespace, uplink, changes);
    });
    for (const change of changes) {
      signal?.throwIfAborted();
      await changeDevice(change, this.tools, (told) =>
        inHost((namespace) => {
          const link = namespace.link(name);
          if (link !== undefined) namespace.apply(told(link.index));
        }),
      );
    }
    if (driver.moves(uplink) && !driver.attaches_before_move)
      inHost((namespace) => moveDevice(namespace, uplink, this.vppSide()));
  }
}

/** Another uplink is known by all that is known of it as one: it may come back as another device, and under another name, as well. */
function knownByUplinks(
  others: CapturedUplink['others'],
  captured: readonly CapturedUplink[],
): CapturedUplink['others'] {
  return others.map(([index, identity]) => {
    const uplink = captured.find(({ link }) => link.index === index);
    return [index, uplink === undefined ? identity : identityOf(uplink.link)] as const;
  });
}

/** Throws UplinkError. */
function mustBeApart(uplinks: readonly CapturedUplink[]): void {
  const [found] = collisionsOf(
    uplinks.map((uplink) => {
      const { pci, link } = uplink;
      const changes = driverFor(uplink).prepare({ ...uplink, gso: false });
      return { name: link.name, changes, ...(pci && { pci }) };
    }),
  );
  if (found === undefined) return;
  const { what, why, step } = found;
  throw new UplinkError(`uplinks ${found.uplinks.join(' and ')} ${what}: ${why}; ${step}`);
}
