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

/** Each with VPP's id of it. */
export async function observeTranslations(
  reader: Reader,
): Promise<(readonly [object: VppObject, id: number])[]> {
  const seen: (readonly [VppObject, number])[] = [];
  await reader.each(cnat_translation_dump, {}, ({ translation }) => {
    seen.push([observeTranslation(translation), translation.id]);
  });
  return seen;
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
