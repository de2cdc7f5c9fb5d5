/**
 * Whether the API server can be reached as everybody in the cluster reaches it: by the address of its own service, `default/kubernetes`. A node is
 * not ready before that: its pods would find nobody to ask.
 */
import type { Translation } from '../objects/cnat.js';

/** `namespace/name`. */
export const api_service = 'default/kubernetes';

export interface ProbeTarget {
  readonly address: string;
  readonly port: number;
}

/** Resolves when a connection of the host's stands, and rejects with what was in the way, at the latest after `within_ms`. */
export type ProbeTcp = (target: ProbeTarget, within_ms: number) => Promise<void>;

/** Where it is, IPv4 before IPv6; undefined: it has no translation. */
export function probeTarget(translations: Iterable<Translation>): ProbeTarget | undefined {
  const targets = [...translations].filter(({ protocol }) => protocol === 'tcp');
  const [target] = [...targets.filter(({ address }) => !address.includes(':')), ...targets];
  return target && { address: target.address, port: target.port };
}

const pause_max_ms = 10_000;

/** Tries it once for each VPP, and again, later each time, until it answers. */
export class ApiProbe {
  #state: 'idle' | 'waiting' | 'under way' | 'done' = 'idle';
  #fault = '';
  /** What was begun for an earlier VPP is void. */
  #probe = 0;

  /** `probed`: one is over; to be handed to `probed`. `again`: it is due after so long. */
  constructor(
    private readonly tcp: ProbeTcp,
    private readonly probe_ms: number,
    private readonly told: (probe: number, error?: Error) => void,
    private readonly again: (after_ms: number) => void,
  ) {}

  /** Another VPP. */
  forget(): void {
    this.#state = 'idle';
    this.#probe += 1;
    this.#fault = '';
  }

  get isDue(): boolean {
    return this.#state === 'idle' || this.#state === 'waiting';
  }

  /** There is nothing to be tried. */
  skip(): void {
    this.#state = 'done';
  }

  /** While it is due. Undefined: VPP has no translation of it. */
  begin(target: ProbeTarget | undefined): void {
    this.#state = 'under way';
    const probe = this.#probe;
    if (target === undefined) return void this.probed(probe, new Error('VPP has no translation of it'));
    this.tcp(target, this.probe_ms).then(
      () => this.told(probe),
      (error: Error) => this.told(probe, error),
    );
  }

  /** False: it was of an earlier VPP. */
  probed(probe: number, error: Error | undefined): boolean {
    if (probe !== this.#probe) return false;
    this.#probe += 1;
    if (error === undefined) {
      this.#state = 'done';
      this.#fault = '';
      return true;
    }
    this.#state = 'waiting';
    this.#fault = `Service ${api_service} cannot be reached from this node: ${error.message}; see /debug/services?service=${api_service}`;
    this.again(Math.min(this.probe_ms * 2 ** Math.min(this.#probe, 8), pause_max_ms));
    return true;
  }

  /** What it has not shown yet, for a person; undefined: nothing is in the way. */
  get unready(): string | undefined {
    if (this.#state === 'done') return undefined;
    return this.#fault || `Service ${api_service} is being tried`;
  }

  get shown(): string {
    return this.#fault || this.#state;
  }
}
