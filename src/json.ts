/**
 * JSON that others have written. What is nested deep enough ends whoever walks it with an exhausted stack, long after the parser,
 * which needs none, has taken it: so the bounds come first.
 */

export interface JsonBounds {
  readonly depth_max?: number;
  /** In UTF-16 units. */
  readonly length_max?: number;
}

const depth_max_default = 32;
const length_max_default = 1 << 20;

/** Throws SyntaxError with the cause alone, e.g. `is nested deeper than 32`: the caller knows what the text is. */
export function parseJson(
  text: string,
  { depth_max = depth_max_default, length_max = length_max_default }: JsonBounds = {},
): unknown {
  if (text.length > length_max) throw new SyntaxError(`is longer than ${length_max} characters`);
  if (isDeeperThan(text, depth_max)) throw new SyntaxError(`is nested deeper than ${depth_max}`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`is not JSON (${(error as Error).message})`);
  }
}

const quote = 0x22;
const backslash = 0x5c;

/** Of what is not JSON it may say either. */
function isDeeperThan(text: string, depth_max: number): boolean {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === quote) quoted = !quoted;
    else if (quoted) {
      if (code === backslash) at += 1;
    } else if (code === 0x5b || code === 0x7b) {
      depth += 1;
      if (depth > depth_max) return true;
    } else if (code === 0x5d || code === 0x7d) depth -= 1;
  }
  return false;
}
