import { createSocket } from 'node:dgram';
import { isLinkLocal } from '../ip/prefix.js';

/**
 * Sends a datagram to the discard port: whatever becomes of it, the neighbour has to be resolved first. VPP does not forward
 * to link-local addresses, so a gateway that has only one is reached by sending to where nobody is (RFC 3849).
 */
export function nudgeByDatagram(gateway: string): void {
  const target = isLinkLocal(gateway) ? '2001:db8::' : gateway;
  const socket = createSocket(target.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', () => socket.close());
  socket.send('', 9, target, () => socket.close());
}
