import { isIP, isIPv4 } from 'node:net';

/** The bits of an address; 0 where it is none. A zone (`fe80::1%eth0`) is no part of a prefix. */
export const bitsOf = (address: string): number =>
  address.includes('%') ? 0 : isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : 0;

/** Whether it is an address with a prefix length that it can have, `10.0.0.0/8`. */
export function isPrefix(text: string): boolean {
  const [, address = '', length = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  return bitsOf(address) > 0 && Number(length) <= bitsOf(address);
}

/** What is wrong with an address and a prefix length beside it. */
export function wrongPrefix(address: string, length: number): string | undefined {
  const bits = bitsOf(address);
  if (bits === 0) return `${JSON.stringify(address)} is not an IP address`;
  return length > bits ? `a prefix of ${address} has at most ${bits} bits, not ${length}` : undefined;
}

/** The AFI of an address, as `Family` names it. */
export const afiOf = (address: string): 'ip' | 'ip6' => (isIPv4(address) ? 'ip' : 'ip6');
