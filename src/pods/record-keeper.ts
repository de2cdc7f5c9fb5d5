/** Sees to the records of pods: that those of the Go implementation are among them, that they say all that they should, and are on the disk. */
import type { ActorContext } from '../actor-system.js';
import type { PodLimits } from '../cni/annotations.js';
import type { CniMessage } from '../messages/cni.js';
import type { CniDeps } from './cni-deps.js';
import { takeOver } from './go-import.js';
import type { PodNamespaces } from './pod-namespaces.js';
import type { PodRecords } from './pod-records.js';

export class RecordKeeper {
  constructor(
    private readonly ctx: Pick<ActorContext<CniMessage>, 'event' | 'log'>,
    private readonly deps: Pick<CniDeps, 'readGoState'>,
    private readonly records: PodRecords,
    private readonly namespaces: PodNamespaces,
  ) {}

  /** Takes over pods of the Go implementation. `taken`: slots that are not free. True: they could not all be written down; undefined: of none is told. */
  import(taken: readonly number[]): boolean | undefined {
    const text = this.goState();
    if (text === undefined) return undefined;
    const { told, open } = takeOver(text, this.records, this.namespaces, taken);
    for (const sentence of told) {
      this.ctx.event('import', sentence);
      this.ctx.log.info({ told: sentence }, 'pods(import) from the Go implementation');
    }
    return open;
  }

  /** A file that cannot be read costs the pods that only it knows, and nothing else. */
  private goState(): string | undefined {
    try {
      return this.deps.readGoState();
    } catch (error) {
      const told = `the Go implementation's state cannot be read, its pods are not taken over: ${(error as Error).message}`;
      this.ctx.event('import', told);
      this.ctx.log.warn({ err: error as Error }, `pods(import) ${told}`);
      return undefined;
    }
  }

  /** Records of earlier releases do not say in which namespace their pods are: found out as long as nobody else can be in its place. */
  complete(): void {
    for (const record of this.records.list()) {
      const namespace = record.namespace === undefined ? this.namespaces.of(record) : undefined;
      if (namespace === undefined) continue;
      try {
        this.records.put({ ...record, namespace });
      } catch {
        // Its pod tries again.
      }
    }
  }

  /** What the next life of this process would not know. */
  mend(): void {
    const missing = this.records.mend();
    if (missing === 0) return;
    const text = `${missing} records were missing from the disk and are written again`;
    this.ctx.event('records', text);
    this.ctx.log.error({}, `pods(records) ${text}`);
  }
}

/** What of the records could not be read, and which pods go without what they once had. */
export function tellOfRecords(
  ctx: Pick<ActorContext<CniMessage>, 'event' | 'log'>,
  { without_memif, without_vcl, problems }: PodRecords,
  { vcl_obstacle = 'vclEnabled is not set' }: Pick<PodLimits, 'vcl_obstacle'>,
): void {
  if (without_memif > 0)
    ctx.event('records', `${without_memif} pods go without their memif: memifEnabled is not set`);
  if (without_vcl > 0) {
    const text = `${without_vcl} pods go without VPP's host stack, and by their device alone: ${vcl_obstacle}`;
    ctx.event('records', text);
    ctx.log.warn({}, `pods(load) ${text}`);
  }
  for (const { file, text } of problems) {
    ctx.log.error({ file }, `pods(load) ${text}`);
    ctx.event('records', `${file} ${text}`);
  }
}
