/** What a VPP with a host stack does with ICMP of IPv4 for its own addresses: it would keep what says that something cannot be reached. */
import { type Client, type Message, RetvalError } from 'vpp-binapi-ts';
import { punt_socket_deregister } from 'vpp-binapi-ts/punt';

/**
 * From its start on the host stack takes "destination unreachable", and with it "fragmentation needed", of all addresses that VPP has: those of the node and of
 * pods with the host stack, whose Linux would hear neither (seen). Without its own node for ICMP VPP punts all of it, as it does with what the host stack
 * leaves. Answers false where VPP does not do it: it has no `punt` section with a socket. May be repeated. Rejects with the connection.
 */
export async function puntIcmp(vpp: Pick<Client, 'request' | 'compatible'>): Promise<boolean> {
  if (!vpp.compatible([punt_socket_deregister as Message<unknown, never>]).compatible) return false;
  try {
    await vpp.request(punt_socket_deregister, {
      punt: {
        type: 'PUNT_API_TYPE_IP_PROTO',
        punt: { ip_proto: { af: 'ADDRESS_IP4', protocol: 'IP_API_PROTO_ICMP' } },
      },
    });
    return true;
  } catch (error) {
    if (!(error instanceof RetvalError)) throw error;
    return false;
  }
}
