/** Questions about prefixes in text form, as `desired` asks them. */
import { formatAddress, parsePrefix } from './text.js';

export function splitPrefix(prefix: string): { readonly address: string; readonly length: number } {
  const { address, length } = parsePrefix(prefix);
  return { address, length };
}

/** The prefix with its host bits cleared: `10.0.0.2/24` to `10.0.0.0/24`. */
export function networkOf(prefix: string): string {
  const { bytes, length } = parsePrefix(prefix);
  const network = Buffer.from(
    bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * i)))),
  );
  return `${formatAddress(network)}/${length}`;
}

/** IPv6 link-local; IPv4's 169.254.0.0/16 counts as an ordinary prefix, clouds give it to nodes. */
export function isLinkLocal(prefix: string): boolean {
  return prefix.includes(':') && networkOf(`${splitPrefix(prefix).address}/10`) === 'fe80::/10';
}
