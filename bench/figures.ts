/** What a benchmark finds out, and how it is shown. */

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly goal?: string;
  readonly ok?: boolean;
}

export type Report = (figure: Figure) => void;

export interface BenchOptions {
  /** Fewer pods, where that makes a figure coarser but not another one. */
  readonly quick: boolean;
}

/** Throws CannotRun where the machine lacks what it needs. */
export type Bench = (report: Report, options: BenchOptions) => Promise<void>;

/** A benchmark that cannot run here. `message` says why. */
export class CannotRun extends Error {
  override readonly name = 'CannotRun';
}

export function atMost(name: string, value: number, unit: string, max: number): Figure {
  return { name, value, unit, goal: `<= ${max}`, ok: value <= max };
}

export function atLeast(name: string, value: number, unit: string, min: number): Figure {
  return { name, value, unit, goal: `>= ${min}`, ok: value >= min };
}

/** The value that a share `p` of all is not above; NaN of none. */
export function quantile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Three significant digits for what is small, whole numbers for what is not. */
export function valueText(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
