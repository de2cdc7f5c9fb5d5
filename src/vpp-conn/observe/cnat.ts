/** Source NAT and translations, back from VPP. */
import { cnat_snat_addresses_dump, type cnat_translation, cnat_translation_dump } from 'vpp-binapi-ts/cnat';
import type { ip_proto } from 'vpp-binapi-ts/ip_types';
import type { ObjectOf, VppObject } from '../../objects/object.js';
import type { Reader } from './reader.js';

export async function observeSnat(reader: Reader): Promise<VppObject[]> {
  const addresses = await reader.dump(cnat_snat_addresses_dump, {});
  return addresses.slice(0, 1).map((details) => ({
    kind: 'snat_addresses',
    ...(details.snat_ip4 !== '0.0.0.0' && { ip4: details.snat_ip4 }),
    ...(details.snat_ip6 !== '::' && { ip6: details.snat_ip6 }),
  }));
}

/** Hands on each, as it comes, with VPP's id of it. */
export function observeTranslations(
  reader: Reader,
  take: (object: VppObject, id: number) => void,
): Promise<void> {
  return reader.each(cnat_translation_dump, {}, ({ translation }) =>
    take(observeTranslation(translation), translation.id),
  );
}

const protocols: Readonly<Partial<Record<ip_proto, ObjectOf<'translation'>['protocol']>>> = {
  IP_API_PROTO_TCP: 'tcp',
  IP_API_PROTO_UDP: 'udp',
  IP_API_PROTO_SCTP: 'sctp',
};

function observeTranslation(translation: cnat_translation): ObjectOf<'translation'> {
  return {
    kind: 'translation',
    address: translation.vip.addr,
    port: translation.vip.port,
    protocol: protocols[translation.ip_proto] ?? 'tcp',
    backends: translation.paths.map(({ dst_ep }) => ({ address: dst_ep.addr, port: dst_ep.port })),
  };
}
