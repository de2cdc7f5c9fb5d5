/**
 * The uplinks as the host wants them, kept on disk while VPP has them: a fresh process that adopts a running VPP has no other
 * way to know what the host looked like. Written before the first change, removed when the host is restored.
 */
import type { UplinkSpec } from '../config.js';
import { readIfExists, removeIfExists, writeAtomic } from '../host/files.js';
import type { LinkIdentity } from '../host/undo/undo-step.js';
import type { Address, Channels, Link, Neighbour, Route } from '../linux/network.js';

export interface CapturedUplink {
  readonly spec: UplinkSpec;
  readonly link: Link;
  readonly addresses: readonly Address[];
  /** Of all tables. */
  readonly routes: readonly Route[];
  /** Permanent ones. */
  readonly neighbours: readonly Neighbour[];
  /** Links that share a multipath route with this one, by index. */
  readonly others: readonly (readonly [number, LinkIdentity])[];
  /** Sysctls of the link that are not as for a new one: by path below /proc/sys. */
  readonly sysctls: readonly { readonly path: string; readonly value: string }[];
  /** Gateways that answered Linux before the take-over: those that have to answer through VPP. */
  readonly answering_gateways: readonly string[];
  readonly channels?: Channels;
}

/** `taking`: the take-over is under way, or broke off. `taken`: it is complete. */
export type Phase = 'taking' | 'taken';

interface CapturedFile {
  readonly version: 1;
  readonly boot_id: string;
  readonly phase: Phase;
  readonly uplinks: readonly CapturedUplink[];
}

export class CapturedStore {
  constructor(
    private readonly path: string,
    private readonly boot_id: string,
  ) {}

  /** Nothing when there is no file, when it is from before the last start of the machine, or when it cannot be read. */
  load(): { readonly phase: Phase; readonly uplinks: readonly CapturedUplink[] } | undefined {
    const text = readIfExists(this.path);
    if (text === undefined) return undefined;
    try {
      const file = JSON.parse(text) as CapturedFile;
      const usable = file.version === 1 && file.boot_id === this.boot_id && file.uplinks.length > 0;
      return usable ? { phase: file.phase, uplinks: file.uplinks } : undefined;
    } catch {
      return undefined;
    }
  }

  save(phase: Phase, uplinks: readonly CapturedUplink[]): void {
    const file: CapturedFile = { version: 1, boot_id: this.boot_id, phase, uplinks };
    writeAtomic(this.path, `${JSON.stringify(file)}\n`, 0o600);
  }

  clear(): void {
    removeIfExists(this.path);
  }
}
