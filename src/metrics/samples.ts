/** Samples of one scrape, by metric. Pure. */
import { definitions, label_length_max, type MetricName } from './catalog.js';

export type Labels = Readonly<Record<string, string>>;

/** Cumulative buckets by upper bound, without the last, which has all. */
export interface HistogramFigures {
  readonly count: number;
  readonly sum_seconds: number;
  readonly buckets: readonly (readonly [le_seconds: number, count: number])[];
}

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Of a part of a histogram, e.g. `_bucket`. */
  readonly suffix?: string;
}

/** A metric as it is exposed. */
export interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly samples: readonly Sample[];
}

const short = (text: string): string =>
  text.length <= label_length_max ? text : text.slice(0, label_length_max);

/** Gathers samples of the metrics of the catalog. A label set comes once: the first counts. */
export class Samples {
  readonly #of = new Map<MetricName, Map<string, Sample[]>>();

  /** What is not known, or no number, is left out. */
  add(name: MetricName, value: number | undefined, labels: Labels = {}): void {
    if (value === undefined || !Number.isFinite(value)) return;
    this.#put(name, labels, (known) => [{ labels: known, value }]);
  }

  histogram(name: MetricName, figures: HistogramFigures | undefined, labels: Labels = {}): void {
    if (figures === undefined) return;
    const { buckets, count, sum_seconds } = figures;
    this.#put(name, labels, (known) => [
      ...buckets.map(([le, value]) => ({ labels: { ...known, le: String(le) }, value, suffix: '_bucket' })),
      { labels: { ...known, le: '+Inf' }, value: count, suffix: '_bucket' },
      { labels: known, value: sum_seconds, suffix: '_sum' },
      { labels: known, value: count, suffix: '_count' },
    ]);
  }

  #put(name: MetricName, given: Labels, make: (labels: Labels) => Sample[]): void {
    // In the catalog's order, and no label that it does not have.
    const labels: Record<string, string> = {};
    for (const label of definitions.get(name)!.labels) {
      const text = given[label];
      if (text !== undefined) labels[label] = short(text);
    }
    const key = Object.values(labels).join('\0');
    let of = this.#of.get(name);
    if (of === undefined) {
      of = new Map();
      this.#of.set(name, of);
    }
    if (!of.has(key)) of.set(key, make(labels));
  }

  /** In the order of the catalog; a metric without samples is not there. */
  families(): Family[] {
    return [...definitions].flatMap(([name, { type, help }]) => {
      const of = this.#of.get(name as MetricName);
      return of === undefined ? [] : { name, type, help, samples: [...of.values()].flat() };
    });
  }
}
