/** Questions about prefixes in text form, as `desired` asks them. */
import { formatAddress, parsePrefix, prefixBits } from './text.js';

export function splitPrefix(prefix: string): { readonly address: string; readonly length: number } {
  const { address, length } = parsePrefix(prefix);
  return { address, length };
}

/** The prefix with its host bits cleared: `10.0.0.2/24` to `10.0.0.0/24`. */
export function networkOf(prefix: string): string {
  const { bytes, length } = prefixBits(prefix);
  const network = Buffer.from(
    bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * i)))),
  );
  return `${formatAddress(network)}/${length}`;
}

/** IPv6 link-local; IPv4's 169.254.0.0/16 counts as an ordinary prefix, clouds give it to nodes. */
export function isLinkLocal(prefix: string): boolean {
  if (!prefix.includes(':')) return false;
  const { bytes } = prefixBits(prefix);
  return bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80;
}

/** A group (224.0.0.0/4, ff00::/8), by the canonical spelling of its address or prefix: `ff02::1`, and not `ff:2::1`. */
export function isGroup(prefix: string): boolean {
  return /^(22[4-9]\.|23\d\.|ff[0-9a-f]{2}:)/.test(prefix);
}
