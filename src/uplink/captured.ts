/**
 * The uplinks as Linux had them, kept on disk while VPP has them: a fresh process that adopts a running VPP has no other way
 * to know what the host looked like. Written before the first change, removed when the host is restored.
 */
import type { UplinkSpec } from '../config.js';
import { readIfExists, removeIfExists, writeAtomic } from '../host/files.js';
import type { Address, Channels, Link, Route } from '../host/types.js';

export interface CapturedUplink {
  readonly spec: UplinkSpec;
  readonly link: Link;
  readonly addresses: readonly Address[];
  /** Of the main table. */
  readonly routes: readonly Route[];
  /** Gateways that answered Linux before the take-over: those that have to answer through VPP. */
  readonly answering_gateways: readonly string[];
  readonly channels?: Channels;
}

interface CapturedFile {
  readonly version: 1;
  readonly boot_id: string;
  readonly uplinks: readonly CapturedUplink[];
}

export class CapturedStore {
  constructor(
    private readonly path: string,
    private readonly boot_id: string,
  ) {}

  /** Nothing when there is no file, when it is from before the last start of the machine, or when it cannot be read. */
  load(): readonly CapturedUplink[] | undefined {
    const text = readIfExists(this.path);
    if (text === undefined) return undefined;
    try {
      const file = JSON.parse(text) as CapturedFile;
      return file.version === 1 && file.boot_id === this.boot_id && file.uplinks.length > 0
        ? file.uplinks
        : undefined;
    } catch {
      return undefined;
    }
  }

  save(uplinks: readonly CapturedUplink[]): void {
    const file: CapturedFile = { version: 1, boot_id: this.boot_id, uplinks };
    writeAtomic(this.path, `${JSON.stringify(file)}\n`, 0o600);
  }

  clear(): void {
    removeIfExists(this.path);
  }
}
