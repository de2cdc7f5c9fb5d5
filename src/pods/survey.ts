/** What VPP holds of pods: read at its start and by audits, told to each pod, and what is nobody's to the sweeper. */
import type { ActorContext } from '../actor-system.js';
import { type BufferPool, buffersText } from '../desired/admission.js';
import type { CniMessage } from '../messages/cni.js';
import type { NodeThere } from '../messages/node.js';
import type { PodNode } from '../messages/pod.js';
import type { Translation } from '../objects/cnat.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import { podInterfaceTag } from '../pod/names.js';
import { addressesOf, type PodSpec } from '../pod/spec.js';
import type { CniDeps } from './cni-deps.js';
import type { PodRecords } from './pod-records.js';
import type { PodEntry, PodTable } from './pod-table.js';
import type { Sweeper } from './sweeper.js';
import { VppReader } from './vpp-reader.js';

/** So many audits pass over the tables that others may have filled: VPP does nothing else while it walks one. */
const light_audits_max = 9;

export interface SurveyParts {
  readonly pods: PodTable;
  readonly records: PodRecords;
  readonly sweeper: Sweeper;
  /** Somebody who is known has it now. */
  readonly claimed: (object: VppObject) => boolean;
  /** What the VPP of this generation holds is known, and told to nobody yet. */
  readonly begun: (generation: number) => void;
}

/** What VPP holds of one pod. `whole`: nothing was passed over. */
interface Part {
  readonly objects: readonly VppObject[];
  readonly whole: boolean;
}

export class Survey {
  /** What VPP holds has been read since the node is ready, and every pod has its part. */
  done = false;
  /** Pods have no interface for want of buffers. */
  starving = false;
  /** Translations that no pod of now has; see Holdings. */
  private strays: readonly Translation[] = [];
  private readonly reader: VppReader;
  /** sw_if_index of each interface that VPP had when it was read last. */
  private indexes: ReadonlyMap<InterfaceTag, number> = new Map();
  private auditing = false;
  /** Audits that may pass over what others fill, until the next whole one. */
  private light_audits = 0;

  constructor(
    private readonly ctx: ActorContext<CniMessage>,
    private readonly deps: Pick<CniDeps, 'vpp' | 'translations' | 'settings' | 'limits'>,
    private readonly parts: SurveyParts,
  ) {
    this.reader = new VppReader(ctx, deps.vpp);
  }

  /** What was known of VPP is void. */
  forget(): void {
    this.done = false;
    for (const pod of this.parts.pods.values()) pod.told = [];
    this.reader.forget();
  }

  /** Has VPP read, and what it shows given to `take`. `fresh`: of now, not of a reading that has begun earlier. */
  read({ fresh = false } = {}): void {
    this.reader.read({ fresh });
  }

  audit(): void {
    this.auditing = true;
    const light = this.done && this.light_audits > 0;
    if (light) this.light_audits -= 1;
    this.reader.read({ audit: light });
  }

  /** Better said at the start than with the first pod that does not fit. */
  lookAtBuffers({ buffers }: NodeThere): void {
    const { buffers_wanted } = this.deps.settings;
    if (buffers === undefined || buffers >= buffers_wanted) return;
    const text = `VPP has ${buffers} packet buffers, all pods of the node would need ${buffers_wanted}: raise buffers-per-numa in the start-up template, or give the node more memory or hugepages`;
    this.ctx.event('buffers', text);
    this.ctx.log.warn({ buffers, buffers_wanted }, `pods(buffers) ${text}`);
  }

  /** What all pods are programmed with, and may have changed. */
  tellNode(ready: NodeThere): void {
    const { generation } = ready;
    const node = podNode(ready, this.deps);
    for (const { ref } of this.parts.pods.values()) ref.tell({ type: 'Node', generation, node });
  }

  /** What came of a reading. `ready`: the node, while there is one. */
  take(
    { read, asked_ms, audit, snapshot: told }: Extract<CniMessage, { type: 'Snapshot' }>,
    ready: NodeThere | undefined,
  ): void {
    const snapshot = this.reader.result(read, told);
    if (snapshot === undefined || ready === undefined) return;
    this.indexes = new Map(snapshot.interfaces.map(({ tag, sw_if_index }) => [tag, sw_if_index]));
    const { translations } = this.deps;
    const { pods, sweeper, begun } = this.parts;
    if (!this.done) pods.claimHostPorts(snapshot, podNode(ready, this.deps), translations);
    const holdings = pods.holdings(snapshot, translations);
    if (!audit) this.strays = holdings.strays;
    if (!this.done) {
      this.done = true;
      this.auditing = false;
      sweeper.survey(ready.generation, holdings.orphans);
      pods.assignSlots(holdings, sweeper.orphans.slots());
      translations.hasSpoken('pods');
      begun(ready.generation);
    } else if (this.auditing) this.audited(holdings.orphans, audit);
    // What looks like an orphan has to be seen twice in a row.
    if (!audit) this.light_audits = sweeper.orphans.suspects > 0 ? 0 : light_audits_max;
    const pool = poolOf(ready);
    const starved = pool && pods.starved(holdings, pool);
    this.starving = starved !== undefined && starved.size > 0;
    for (const [key, pod] of pods) {
      const missing = starved?.get(key);
      const no_room = missing === undefined ? undefined : buffersText(pool!, missing);
      const objects = holdings.pods.get(podInterfaceTag(pod.spec)) ?? [];
      this.tell(pod, ready, { objects, whole: !audit }, asked_ms, no_room);
    }
    this.reader.readAgain();
  }

  /** `asked_ms`: when VPP was asked. `no_room`: why the pod gets no interface. */
  tell(
    pod: PodEntry,
    ready: NodeThere,
    part: Part,
    asked_ms = this.ctx.clock.now_ms(),
    no_room?: string,
  ): void {
    const { generation } = ready;
    const sw_if_index = this.indexes.get(podInterfaceTag(pod.spec));
    pod.told = this.parts.records.get(pod.spec.key) === undefined ? part.objects : [];
    pod.ref.tell({
      type: 'Part',
      generation,
      asked_ms,
      node: podNode(ready, this.deps),
      slot: pod.slot,
      holdings: { ...part, ...(sw_if_index !== undefined && { sw_if_index }) },
      ...(no_room !== undefined && { no_room }),
    });
  }

  /** What leads to an address of a pod that comes, and is not its wish, is removed by it. */
  straysTo(spec: PodSpec): readonly Translation[] {
    const own = new Set(addressesOf(spec));
    const isTo = ({ backends }: Translation): boolean => backends.some(({ address }) => own.has(address));
    const found = this.strays.filter((object) => isTo(object) && !this.parts.claimed(object));
    this.strays = this.strays.filter((object) => !isTo(object));
    return spec.network_name === '' ? found : [];
  }

  /**
   * What a pod was told of and has no record of is nobody's again. Not yet surveyed: it is found with the rest. `left`: as the pod said;
   * `current`: the VPP that the node has.
   */
  takeBack(
    pod: PodEntry,
    left: Extract<CniMessage, { type: 'PodGone' }>['left'],
    current: number | undefined,
  ): void {
    if (!this.done || (left !== undefined && left.generation !== current)) return;
    const objects = left?.objects ?? pod.told;
    if (objects.length === 0) return;
    const { orphans, strays } = this.parts.pods.holdings({ objects }, this.deps.translations);
    this.strays = [...this.strays, ...strays];
    this.parts.sweeper.takeBack(orphans, pod.deleting);
  }

  /** `light`: what others fill was passed over. */
  private audited(orphans: readonly VppObject[], light: boolean): void {
    const { sweeper } = this.parts;
    if (light && sweeper.isNew(orphans)) return this.read();
    this.auditing = false;
    if (!light) sweeper.audit(orphans);
  }
}

/** Of which pods' rings are taken; undefined: VPP does not tell. */
export function poolOf(ready: NodeThere | undefined): BufferPool | undefined {
  const { buffers, buffers_taken = 0 } = ready ?? {};
  return buffers === undefined ? undefined : { total: buffers, taken: buffers_taken };
}

function podNode(
  { type, mtu, node, redirects, workers, pools, networks: known }: NodeThere,
  { settings, checksums, limits }: Pick<CniDeps, 'settings' | 'checksums' | 'limits'>,
): PodNode {
  const { gso, default_verdict, drop_other_protocols, headers_bytes = 0 } = settings;
  const software_checksums = checksums?.wanted;
  const of_wire = software_checksums === undefined ? {} : { software_checksums };
  const held = type === 'NodePrepared';
  // Nobody reads them.
  const networks = limits().gates.multinet ? known : [];
  const of_settings = { gso, default_verdict, drop_other_protocols };
  return {
    mtu: mtu - headers_bytes,
    node,
    redirects,
    workers,
    held,
    ...of_settings,
    ...of_wire,
    ...(pools && { pools }),
    ...(networks && { networks }),
  };
}
