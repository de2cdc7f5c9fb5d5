/** The state file of the Go implementation, kept up for tools that read it. Its keys and encodings are Go's. */

import type { Uplink } from '../desired/node-inputs.js';
import { vppAddresses } from '../desired/uplink-addresses.js';
import { splitPrefix } from '../ip/prefix.js';

export function infoFile(status: 'starting' | 'ready', uplinks: readonly Uplink[], to_64: boolean): string {
  const statuses = Object.fromEntries(
    uplinks.map((uplink) => [
      uplink.name,
      {
        Name: uplink.name,
        IsMain: uplink.is_main,
        Mtu: uplink.mtu,
        PhysicalNetworkName: uplink.physical_network,
        UplinkAddresses: vppAddresses(uplink, to_64).map(netOf),
      },
    ]),
  );
  return `${JSON.stringify({ Status: status, UplinkStatuses: statuses }, null, 2)}\n`;
}

/** A Go net.IPNet: the address as text, the mask as base64 of its bytes. */
function netOf(prefix: string): { readonly IP: string; readonly Mask: string } {
  const { address, length } = splitPrefix(prefix);
  const bytes = Buffer.alloc(address.includes(':') ? 16 : 4);
  for (let bit = 0; bit < length; bit++) bytes[bit >> 3]! |= 0x80 >> (bit & 7);
  return { IP: address, Mask: bytes.toString('base64') };
}
