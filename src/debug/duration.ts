const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** For people: `1.8ms`, `850ms`, `2.4s`, `5m12s`, `3d2h`. */
export function durationText(ms: number): string {
  if (!(ms > 0)) return '0s';
  if (ms < 10) return `${Number(ms.toFixed(1))}ms`;
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 10_000) return `${Number((Math.floor(ms / 100) / 10).toFixed(1))}s`;
  const at = UNITS.findIndex(([, size]) => ms >= size);
  const [unit, size] = UNITS[at]!;
  const whole = Math.floor(ms / size);
  const next = UNITS[at + 1];
  const rest = next === undefined ? 0 : Math.floor((ms % size) / next[1]);
  return rest === 0 ? `${whole}${unit}` : `${whole}${unit}${rest}${next![0]}`;
}
