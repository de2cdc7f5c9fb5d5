/** What a command answers with in place of its output. */
export class UsageError extends Error {}

/** The node answered, and the answer is no. */
export class NodeRefused extends Error {}

/** A number of an option; throws UsageError that names it. */
export function numberOption(
  value: string | boolean | undefined,
  name: string,
  fallback: number,
  min: number,
  max: number,
): number {
  if (value === undefined) return fallback;
  const number = Number(value);
  if (typeof value === 'string' && /^\d+(\.\d+)?$/.test(value) && number >= min && number <= max)
    return number;
  throw new UsageError(`--${name} takes a number from ${min} to ${max}`);
}
