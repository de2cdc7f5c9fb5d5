/** The ports that lead to a pod's memif: `tcp:4444-20000,udp:53`. */
import type { PortRange } from '../pod/spec.js';
import { InvalidRequest } from './invalid-request.js';

const port_max = 0xffff;
const ranges_max = 256;
/** The longest text in which so many ranges can stand. */
const length_max = 8192;
/** Known to the Go implementation, and split by no VPP. */
const unsplit: readonly string[] = ['sctp', 'icmp', 'icmp6'];

/** Protocols in any case. Throws InvalidRequest with the entry and the cause. */
export function readMemifPorts(
  text: string,
  field: string,
  warn: (problem: string) => void,
): readonly PortRange[] {
  const entries = text.length > length_max ? [] : text.split(',');
  if (entries.length === 0 || entries.length > ranges_max)
    throw new InvalidRequest(field, text, `has more than ${ranges_max} entries: shorten it`);
  return entries.flatMap((entry, index): PortRange[] => {
    const fail = (problem: string): never => {
      throw new InvalidRequest(`${field}, entry ${index}:`, entry, problem);
    };
    const [, name = '', from = '', to = from] =
      /^\s*([a-z0-9]+)\s*:\s*(\d{1,5})(?:\s*-\s*(\d{1,5}))?\s*$/.exec(entry.toLowerCase()) ?? [];
    if (name === '') return fail('is not protocol:port or protocol:port-port: write e.g. tcp:4444-20000');
    const [begin, last] = [Number(from), Number(to)];
    if (last === 0 || last > port_max) fail(`is not within ports 1 to ${port_max}: correct it`);
    if (begin > last) fail('ends before it begins: swap its ports');
    // To the Go implementation `tcp:0-65535` is all ports, and to VPP nothing is ever sent to port 0.
    const first = Math.max(begin, 1);
    if (name === 'tcp' || name === 'udp') return [{ protocol: name, first, last }];
    if (!unsplit.includes(name)) fail('is of a protocol that is neither TCP nor UDP: correct it');
    warn(`entry ${entry.trim()} has no effect: VPP leads TCP and UDP alone to a memif`);
    return [];
  });
}
