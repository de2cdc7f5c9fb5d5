/**
 * VPP, the journal and our own part of the taps follow what the host changes on them, what the cluster says and what routers say, from the take-over on
 * until the uplinks are given back. Also what all that is told by: what VPP is to hold of the node, and what it holds.
 */
import { isDeepStrictEqual } from 'node:util';
import type { UplinkSpec } from '../config.js';
import { fingerprint } from '../desired/host-tap.js';
import type { NodeNetwork } from '../desired/networks.js';
import { type Uplink, uplinkTag } from '../desired/node-inputs.js';
import type { PodPools } from '../desired/source-nat.js';
import type { VppObject } from '../objects/object.js';
import { reconcile } from '../reconcile/reconcile.js';
import type { CapturedUplink } from './captured.js';
import { Dressing } from './dressing.js';
import { NodeInVpp } from './node-in-vpp.js';
import { NodeWishes } from './node-wishes.js';
import type { TakeOverDeps, TakeOverSettings } from './take-over-deps.js';
import type { Taken } from './taken.js';
import { TapMender } from './tap-mender.js';

export class Following {
  /** What VPP is to hold: the next `follow` takes in what it is told. */
  readonly wishes: NodeWishes;
  readonly vpp: NodeInVpp;
  readonly dressing: Dressing;
  readonly mender: TapMender;
  /**
   * The uplinks when the host was last known to have all of its network: by that is told whether its services are in the middle of a change, as they are
   * behind VPP's death, when they lease anew what was given back.
   */
  whole: readonly CapturedUplink[] | undefined;
  /** Of pods and nodes, as this VPP has been told of them. */
  pods_in_vpp: PodPools | undefined;
  /** Beside the default one, those that this VPP has tables of; undefined: not known. */
  networks_in_vpp: readonly NodeNetwork[] | undefined;
  /** After that time the taps are to be looked at again, whether they change or not. */
  mends_in_ms: number | undefined;

  constructor(
    private readonly deps: Pick<TakeOverDeps, 'host' | 'vpp' | 'routers' | 'clock' | 'log'>,
    settings: TakeOverSettings,
  ) {
    const warn = (text: string): void => this.warn(text);
    const { clock, host } = deps;
    this.wishes = new NodeWishes(settings.inputs, clock);
    this.vpp = new NodeInVpp(deps.vpp, warn, foundTags(settings.specs));
    this.dressing = new Dressing(host.taps, warn);
    const { wishes, dressing } = this;
    this.mender = new TapMender({ taps: host.taps, dressing, wishes, clock, warn });
  }

  /** What VPP holds of the node may not be what it was told: the next `follow` or `repeat` reads it. */
  get is_in_doubt(): boolean {
    return this.vpp.is_in_doubt;
  }

  /**
   * VPP, the journal and our own part of the tap as the host wants it by now. Nothing when nothing has changed. A host may have routes by the ten
   * thousand: each step has a turn of the event loop to itself, and reads Linux once.
   */
  async follow(before: Taken, generation: number, signal: AbortSignal): Promise<Taken | undefined> {
    const { taps } = this.deps.host;
    const turn = (): Promise<void> => this.turn(signal);
    this.mends_in_ms = this.mender.mendLeases(before);
    const current = this.mender.withoutGap(
      before.captured,
      taps.current(before.captured, this.wishes.isDeaf),
    );
    await turn();
    const seen = current && fingerprint(current);
    await turn();
    const now = this.remember(before, current, seen);
    const { uplinks } = now ?? before;
    const { pods, networks } = this.wishes;
    const told_networks = networks.told;
    const vnis = await networks.next(
      async () => (await this.deps.vpp.read(['pods', 'connectivity'])).objects,
    );
    const prefixes = this.wishes.neverNatted(uplinks) ?? this.wishes.not_natted;
    const is_other = !isDeepStrictEqual([prefixes, vnis], [this.wishes.not_natted, networks.vnis]);
    if (now !== undefined || this.is_in_doubt || is_other) {
      await turn();
      const { vnis: told_vnis } = networks;
      const told = this.wishes.objects(before.uplinks, true, true, without(told_vnis, vnis));
      const is_bare = this.is_in_doubt && taps.isBare(before.captured);
      this.wishes.not_natted = prefixes;
      networks.vnis = vnis;
      await this.converge(uplinks, told, generation, without(vnis, told_vnis), turn);
      signal.throwIfAborted();
      // A tap that VPP had lost has nothing of the host's.
      if (is_bare) this.dressing.dress(before, this.wishes.cluster(), this.wishes.speakers());
    }
    this.pods_in_vpp = pods;
    this.networks_in_vpp = this.inVpp(told_networks);
    // A host that builds the same anew (ifdown, ifup) loses what is ours on the tap, and nothing of its own.
    await turn();
    this.dressing.redress(uplinks, this.wishes.cluster(), this.wishes.speakers());
    await turn();
    this.mender.mendAdvertised(now ?? before);
    return now;
  }

  /** Has VPP tell the host what routers have said by now. */
  async repeat({ uplinks }: Pick<Taken, 'uplinks'>, generation: number): Promise<void> {
    const now = this.deps.routers.repeated(this.deps.clock.now_ms());
    const { repeated: known } = this.wishes;
    if (isDeepStrictEqual(now, known) && !this.is_in_doubt) return;
    const told = this.wishes.objects(uplinks, true, true, []);
    this.wishes.repeated = now;
    if (now.size > known.size) this.rememberHeard();
    try {
      this.dressing.redress(uplinks, this.wishes.cluster(), this.wishes.speakers());
    } catch (error) {
      // VPP has not been told either: that is tried again with it.
      this.wishes.repeated = known;
      throw error;
    }
    await this.converge(uplinks, told, generation, []);
  }

  /**
   * VPP has what is wanted by now. `told`: what it holds, unless that is in doubt; `vnis`: of networks that are wanted beside those that it holds and keeps.
   * `turn`: between two pieces of work.
   */
  private async converge(
    uplinks: readonly Uplink[],
    told: readonly VppObject[],
    generation: number,
    vnis: readonly number[],
    turn: () => Promise<void> = async () => undefined,
  ): Promise<void> {
    const { is_in_doubt } = this;
    const { objects, unsure } = is_in_doubt ? await this.vpp.read(generation) : { objects: told };
    // Whatever ends this in between leaves VPP untold.
    this.vpp.is_in_doubt = true;
    await turn();
    const wanted = this.wishes.objects(uplinks, true, true, is_in_doubt ? undefined : vnis);
    await turn();
    this.vpp.is_in_doubt = false;
    const operations = reconcile(wanted, objects, unsure);
    for (const refused of await this.vpp.program(generation, operations)) this.warn(refused);
  }

  private rememberHeard(): void {
    try {
      this.deps.host.rememberHeard(new Set(this.wishes.repeated.keys()));
    } catch (error) {
      this.warn((error as Error).message);
    }
  }

  /** The journal as the host wants it by now, at the end: nobody will look at its taps again. VPP is not told. */
  rememberLast(before: Taken): void {
    try {
      const current = this.deps.host.taps.atOnce(before.captured, this.wishes.isDeaf);
      this.remember(before, current, current && fingerprint(current));
    } catch (error) {
      this.warn(`what the host has changed last is not known: ${(error as Error).message}`);
    }
  }

  /** The journal as the host wants it by now: `seen` is its fingerprint. Nothing when nothing has changed, or it is not known. */
  private remember(
    before: Taken,
    current: readonly CapturedUplink[] | undefined,
    seen: string | undefined,
  ): Taken | undefined {
    if (current === undefined || seen === before.seen) return undefined;
    this.deps.host.remember(this.wishes.marked(current));
    this.whole = current;
    return { ...this.wishes.taken(current), seen, buffers: before.buffers };
  }

  /** By which a later look tells whether the host has changed anything on its taps. Undefined: they are not there. */
  seen(captured: readonly CapturedUplink[]): string | undefined {
    const current = this.deps.host.taps.current(captured, this.wishes.isDeaf);
    return current && fingerprint(current);
  }

  /** Those of which VPP has all: in others nobody is to be. */
  inVpp(networks: readonly NodeNetwork[] | undefined): readonly NodeNetwork[] | undefined {
    const { lacking_networks: lacking } = this.vpp;
    return lacking.size === 0 ? networks : networks?.filter(({ vni }) => !lacking.has(vni));
  }

  /** What lies in the sockets, and in the mailbox, comes first. */
  private async turn(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => this.deps.clock.afterPoll(resolve));
    signal.throwIfAborted();
  }

  private warn(text: string): void {
    this.deps.log.warn({}, `uplink(take over) ${text}`);
  }
}

function without(vnis: readonly number[], others: readonly number[]): readonly number[] {
  const left_out = new Set(others);
  return vnis.filter((vni) => !left_out.has(vni));
}

/** Tags of uplinks whose interfaces VPP's start-up files make. */
function foundTags(specs: readonly UplinkSpec[]): ReadonlySet<string> {
  const found = specs.filter(({ driver }) => driver === 'none' || driver === 'dpdk');
  return new Set(found.map(({ interface_name }) => uplinkTag(interface_name)));
}
