/**
 * The uplinks as the host wants them, kept on disk while VPP has them: a fresh process that adopts a running VPP has no other
 * way to know what the host looked like. Written before the first change, removed when the host is restored.
 */
import type { Driver, UplinkSpec } from '../config.js';
import type { PciFacts } from '../host/devices/pci-facts.js';
import type { LinkState } from '../host/undo/capture.js';
import { durableFiles, type JournalFiles } from '../host/undo/undo-journal.js';
import type { LinkIdentity } from '../host/undo/undo-step.js';
import type { CapturedRoute } from '../linux/routes.js';
import type { Joins } from './driver.js';
import type { Sysctl } from './link-sysctls.js';

export interface CapturedUplink extends Omit<LinkState, 'others'> {
  readonly spec: UplinkSpec;
  /** See `LinkState.others`. */
  readonly others: readonly (readonly [number, LinkIdentity])[];
  /** Sysctls of the link that are not as for a new one: by path below /proc/sys. */
  readonly sysctls: readonly Sysctl[];
  /** See `NetworkNamespace.offloads`. Absent in records of earlier releases. */
  readonly offloads?: boolean;
  /** See `DeviceFacts.joins`. */
  readonly joins?: readonly Joins[];
  /** As it was before VPP got it. Absent: it is on no PCI bus, or the record is of an earlier release. */
  readonly pci?: PciFacts;
  /** The one that was chosen where the configuration names none, and why none before it was. */
  readonly driver?: Driver;
  readonly passed_over?: Readonly<Partial<Record<Driver, string>>>;
  /** Routers have been heard behind it by VPP, which repeats them on the tap: what is not there they have taken back. */
  readonly heard?: true;
  /** A DHCP server has lent it its address (IPv4), by now or before: it may lend it another one. */
  readonly leased?: true;
  /** Gateways that answered Linux before the take-over: those that have to answer through VPP. */
  readonly answering_gateways: readonly string[];
  /** Routes that an earlier implementation left on the link: neither the host's nor ours, and not given back. */
  readonly leftovers: readonly CapturedRoute[];
  /** What the host has on its loopback and dummy devices, without length; of the main uplink alone. */
  readonly host_addresses: readonly string[];
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
    private readonly files: Pick<JournalFiles, 'read' | 'replace' | 'remove'> = durableFiles,
  ) {}

  /** Nothing when there is no file, when it is from before the last start of the machine, or when it cannot be read. */
  load(): { readonly phase: Phase; readonly uplinks: readonly CapturedUplink[] } | undefined {
    const text = this.files.read(this.path);
    if (text === undefined) return undefined;
    try {
      const file = JSON.parse(text) as CapturedFile;
      const usable = file.version === 1 && file.boot_id === this.boot_id && file.uplinks.length > 0;
      return usable ? { phase: file.phase, uplinks: file.uplinks.map(complete) } : undefined;
    } catch {
      return undefined;
    }
  }

  save(phase: Phase, uplinks: readonly CapturedUplink[]): void {
    const file: CapturedFile = { version: 1, boot_id: this.boot_id, phase, uplinks };
    this.files.replace(this.path, `${JSON.stringify(file)}\n`);
  }

  clear(): void {
    this.files.remove(this.path);
  }
}

/** An earlier release did not write all. */
function complete(uplink: CapturedUplink): CapturedUplink {
  return { ...absent, ...uplink };
}

const absent = { foreign_routes: [], nexthops: [], host_addresses: [], leftovers: [] } as const;
