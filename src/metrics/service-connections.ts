/**
 * New connections by service, from the counters that VPP has by translation. A service has several of these, and they come and go: so what is told is
 * the sum of what they have grown by, as seen from one scrape to the next. It never falls, and begins at 0 with this process.
 */
import type { NamedTranslations } from '../services/service-names.js';
import type { SegmentView } from '../stats/segment.js';
import type { Samples } from './samples.js';

/** Services with a series of their own. */
export const services_max = 1000;

/** Of the segment, by VPP's id of a translation; a packet is a connection. */
const connections_entry = '/net/cnat-translation';

/** Of one VPP, as one reading has them. */
export interface TranslationCounters {
  /** When VPP started, in seconds since 1970. */
  readonly boot_s: number;
  /** By id, of all threads together. */
  readonly counters: Float64Array;
}

/** Undefined where VPP has no such counters. */
export function translationCounters(view: SegmentView): TranslationCounters | undefined {
  const value = view.value(connections_entry);
  if (value?.kind !== 'combined') return undefined;
  const counters = new Float64Array(Math.max(0, ...value.threads.map(({ packets }) => packets.length)));
  for (const { packets } of value.threads)
    for (let id = 0; id < packets.length; id += 1) counters[id]! += packets[id]!;
  return { boot_s: view.scalar('/sys/boottime') ?? 0, counters };
}

interface Counted {
  translations: number;
  count: number;
  has_series: boolean;
}

export class ServiceConnections {
  /** A VPP that started earlier has counted for another process. */
  readonly #since_s: number;
  #version = 0;
  #pid = 0;
  /** The VPP whose counters were read last, and the counters as they were then, by id. */
  #read_pid = 0;
  #counters = new Float64Array(0);
  readonly #services = new Map<number, string>();
  readonly #counted = new Map<string, Counted>();
  #series = 0;
  /** Connections of services that had no series when they came. */
  #others = 0;

  /** `since_s`: since when connections count, in seconds since 1970. */
  constructor(since_s: number) {
    this.#since_s = since_s;
  }

  /** To be asked for with the next question. */
  get version(): number {
    return this.#version;
  }

  /**
   * From here on the ids are these services'. To be told before the counters are read: VPP sets one to 0 before it says whose it is, so that none is
   * taken for another's.
   */
  learn({ pid, version, whole, named, unnamed }: NamedTranslations): void {
    const left = new Set(whole ? this.#services.keys() : unnamed);
    for (const [service, ids] of named)
      for (const id of ids.split(' ').map(Number)) {
        left.delete(id);
        this.#name(id, service);
      }
    for (const id of left) this.#name(id, undefined);
    this.#pid = pid;
    this.#version = version;
  }

  #name(id: number, service: string | undefined): void {
    const before = this.#services.get(id);
    if (before === service) return;
    if (before !== undefined) {
      const counted = this.#counted.get(before)!;
      counted.translations -= 1;
      if (counted.translations === 0) {
        this.#counted.delete(before);
        if (counted.has_series) this.#series -= 1;
      }
    }
    if (service === undefined) {
      this.#services.delete(id);
      return;
    }
    this.#services.set(id, service);
    const counted = this.#counted.get(service);
    if (counted === undefined) this.#counted.set(service, { translations: 1, count: 0, has_series: false });
    else counted.translations += 1;
  }

  /**
   * Adds what has come since the last reading. Of another VPP than the one whose ids are known nothing is: false. A counter that is smaller than it was is
   * another one, which began at 0; one that has overtaken the one before it meanwhile is told by that less.
   */
  read(pid: number, { boot_s, counters }: TranslationCounters): boolean {
    if (pid !== this.#pid) return false;
    const is_first = pid !== this.#read_pid;
    const is_older = is_first && boot_s < this.#since_s;
    const before = is_first ? new Float64Array(0) : this.#counters;
    const now = new Float64Array(counters.length);
    const idle = this.#idle();
    for (const [id, counter] of counters.entries()) {
      const last = is_older ? counter : (before[id] ?? 0);
      const service = this.#services.get(id);
      if (service === undefined) {
        // Nobody has been told yet whose it is: it counts once that is known.
        now[id] = Math.min(last, counter);
        continue;
      }
      now[id] = counter;
      const grown = counter - (counter < last ? 0 : last);
      if (grown > 0) this.#count(service, grown, idle);
    }
    this.#counters = now;
    this.#read_pid = pid;
    for (const counted of this.#counted.values()) {
      if (this.#series >= services_max) break;
      this.#show(counted);
    }
    return true;
  }

  #count(service: string, grown: number, idle: Iterator<Counted>): void {
    const counted = this.#counted.get(service)!;
    if (!counted.has_series && this.#hasRoom(idle)) this.#show(counted);
    if (counted.has_series) counted.count += grown;
    else this.#others += grown;
  }

  #show(counted: Counted): void {
    if (counted.has_series) return;
    counted.has_series = true;
    this.#series += 1;
  }

  /** One that nobody has ever connected to makes room. */
  #hasRoom(idle: Iterator<Counted>): boolean {
    if (this.#series < services_max) return true;
    const { value, done } = idle.next();
    if (done) return false;
    value.has_series = false;
    this.#series -= 1;
    return true;
  }

  *#idle(): Generator<Counted> {
    for (const counted of this.#counted.values())
      if (counted.has_series && counted.count === 0) yield counted;
  }

  addTo(samples: Samples): void {
    for (const [name, { count, has_series }] of this.#counted) {
      if (!has_series) continue;
      const slash = name.indexOf('/');
      samples.add('calicovpp_service_new_connections_total', count, {
        namespace: name.slice(0, slash),
        service: name.slice(slash + 1),
      });
    }
    const unshown = this.#counted.size - this.#series;
    samples.add('calicovpp_services_unshown', unshown);
    if (unshown > 0 || this.#others > 0)
      samples.add('calicovpp_service_new_connections_total', this.#others, { namespace: '', service: '' });
  }
}
