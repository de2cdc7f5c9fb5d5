/**
 * Whose connections a counter of VPP counts, for who reads the counters without asking the main thread for each. Told in differences: of ten thousand
 * services few change from one scrape to the next.
 */
import type { TranslationIds } from '../vpp-conn/translation-ids.js';

export interface NamedTranslations {
  /** Of the VPP whose ids they are. */
  readonly pid: number;
  /** To be named with the next question. */
  readonly version: number;
  /** All that there are; otherwise what has changed since the version that was named. */
  readonly whole: boolean;
  /** `namespace/name`, and ids that are its translations' now. Not by key: some keys are taken for those of secrets. */
  readonly named: readonly (readonly [service: string, ids: string])[];
  /** No service's any more. */
  readonly unnamed: readonly number[];
}

/** Bounded by what VPP has. One asks: whoever names another version than the last is told all. */
export class ServiceNames {
  #vpp: { readonly pid: number; readonly ids: TranslationIds } | undefined;
  #serviceOf: (vip: string) => string | undefined = () => undefined;
  /** By id. */
  #told: (string | undefined)[] = [];
  #version = 0;

  /** A session with a VPP has begun, which knows these ids. They hold after its end, too, as long as that VPP lives. */
  opened(pid: number, ids: TranslationIds): void {
    this.#vpp = { pid, ids };
  }

  /** The last one counts. */
  by(serviceOf: (vip: string) => string | undefined): void {
    this.#serviceOf = serviceOf;
  }

  /** Undefined: there has been no VPP yet. */
  since(version: number): NamedTranslations | undefined {
    if (this.#vpp === undefined) return undefined;
    const { pid, ids } = this.#vpp;
    const whole = version !== this.#version;
    const told = whole ? [] : this.#told;
    const named = new Map<string, number[]>();
    const unnamed: number[] = [];
    const { vips } = ids;
    const length = Math.max(vips.length, told.length);
    for (let id = 0; id < length; id += 1) {
      const vip = vips[id];
      const service = vip === undefined ? undefined : this.#serviceOf(vip);
      const before = told[id];
      told[id] = service;
      if (service === before) continue;
      if (service === undefined) unnamed.push(id);
      else if (!named.get(service)?.push(id)) named.set(service, [id]);
    }
    this.#told = told;
    this.#version += 1;
    return {
      pid,
      version: this.#version,
      whole,
      named: [...named].map(([service, of_it]) => [service, of_it.join(' ')]),
      unnamed,
    };
  }
}
