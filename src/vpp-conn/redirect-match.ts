/**
 * Masks and matches of the redirect classifier: protocol, destination address and destination port of an IP header
 * without options followed by TCP or UDP, padded to whole vectors of 16 bytes.
 */

import { type Family, familyOf, formatAddress, parseAddress } from '../ip/text.js';
import type { RedirectMatch } from '../objects/redirect.js';

/** Offsets within the IP header, and of the destination port behind it. */
const layout: Readonly<
  Record<
    Family,
    { protocol: number; destination: number; address_bytes: number; port: number; vectors: number }
  >
> = {
  4: { protocol: 9, destination: 16, address_bytes: 4, port: 22, vectors: 2 },
  6: { protocol: 6, destination: 24, address_bytes: 16, port: 42, vectors: 3 },
};
/** Size of `match` in ip_session_redirect_add_v2. */
const match_bytes = 80;
const protocol_numbers = { tcp: 6, udp: 17 } as const;

export function redirectMask(family: Family): Uint8Array {
  const { protocol, destination, address_bytes, port, vectors } = layout[family];
  const mask = new Uint8Array(16 * vectors);
  mask[protocol] = 0xff;
  mask.fill(0xff, destination, destination + address_bytes);
  mask.fill(0xff, port, port + 2);
  return mask;
}

/** The match as its message has it: 80 bytes, of which the first `length` count. */
export function redirectMatch(rule: RedirectMatch): { readonly match: Uint8Array; readonly length: number } {
  const family = familyOf(rule.address);
  const { protocol, destination, port, vectors } = layout[family];
  const match = new Uint8Array(match_bytes);
  match[protocol] = protocol_numbers[rule.protocol];
  match.set(parseAddress(rule.address, family), destination);
  match[port] = rule.port >> 8;
  match[port + 1] = rule.port & 0xff;
  return { match, length: 16 * vectors };
}

/** What a dumped session of the classifier matches; undefined for one that is not ours. */
export function redirectFrom(family: Family, match: Uint8Array): RedirectMatch | undefined {
  const { protocol, destination, address_bytes, port } = layout[family];
  const number = match[protocol];
  const name = number === protocol_numbers.tcp ? 'tcp' : number === protocol_numbers.udp ? 'udp' : undefined;
  if (name === undefined || match.length < port + 2) return undefined;
  return {
    protocol: name,
    port: match[port]! * 256 + match[port + 1]!,
    address: formatAddress(Buffer.from(match.subarray(destination, destination + address_bytes))),
  };
}

/** Of what npol judges, and of all of ICMP, of which it judges echoes: ICMPv6 carries neighbours, too. By the header's own field: no extension of IPv6. */
const judged_protocols: Readonly<Record<Family, readonly number[]>> = {
  4: [1, 6, 17, 132],
  6: [6, 17, 58, 132],
};

export function protocolMask(family: Family): Uint8Array {
  const mask = new Uint8Array(16);
  mask[layout[family].protocol] = 0xff;
  return mask;
}

export function protocolMatches(family: Family): Uint8Array[] {
  return judged_protocols[family].map((protocol) => {
    const match = new Uint8Array(16);
    match[layout[family].protocol] = protocol;
    return match;
  });
}

/** Of the first byte of an IPv4 header: its length in words of 4 bytes, 5 where there are no options. */
const header_words = { mask: 0x0f, first_with_options: 6, last: 15 };

export function optionsMask(): Uint8Array {
  const mask = new Uint8Array(16);
  mask[0] = header_words.mask;
  return mask;
}

/** One for each length of a header with options. */
export function optionsMatches(): Uint8Array[] {
  const { first_with_options, last } = header_words;
  return Array.from({ length: last - first_with_options + 1 }, (_, at) => {
    const match = new Uint8Array(16);
    match[0] = first_with_options + at;
    return match;
  });
}
