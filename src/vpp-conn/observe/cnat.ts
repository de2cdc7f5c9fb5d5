/** Source NAT and translations, back from VPP. */
import {
  cnat_endpoint_tuple_flags,
  cnat_snat_addresses_dump,
  type cnat_translation,
  cnat_translation_dump,
} from 'vpp-binapi-ts/cnat';
import type { ip_proto } from 'vpp-binapi-ts/ip_types';
import { nobody, unknown_hash } from '../../objects/cnat.js';
import type { ObjectOf, VppObject } from '../../objects/object.js';
import type { RecordedObject, Registry } from '../registry.js';
import type { Reader } from './reader.js';

export async function observeSnat(reader: Reader): Promise<VppObject[]> {
  // In the order in which they were made.
  const entries = (await reader.dump(cnat_snat_addresses_dump, {})).map(
    ({ snat_ip4, snat_ip6 }): Addresses => ({
      ...(snat_ip4 !== '0.0.0.0' && { ip4: snat_ip4 }),
      ...(snat_ip6 !== '::' && { ip6: snat_ip6 }),
    }),
  );
  const [first, second] = entries;
  if (first === undefined) return [];
  if (second === undefined) return [{ kind: 'snat_addresses', ...ofSomebody(first) }];
  return [
    { kind: 'snat_uplinks', ...first },
    { kind: 'snat_addresses', ...ofSomebody(second), beside: true },
  ];
}

interface Addresses {
  readonly ip4?: string;
  readonly ip6?: string;
}

function ofSomebody({ ip4, ip6 }: Addresses): Addresses {
  return {
    ...(ip4 !== undefined && ip4 !== nobody[4] && { ip4 }),
    ...(ip6 !== undefined && ip6 !== nobody[6] && { ip6 }),
  };
}

/** Hands on each, as it comes, with VPP's id of it. */
export function observeTranslations(
  reader: Reader,
  registry: Pick<Registry, 'partOf'>,
  take: (object: VppObject, id: number) => void,
): Promise<void> {
  return reader.walk(cnat_translation_dump, {}, ({ translation }) => {
    const shown = observeTranslation(translation);
    take(withHash(shown, registry.partOf(shown)), translation.id);
  });
}

const protocols: Readonly<Partial<Record<ip_proto, ObjectOf<'translation'>['protocol']>>> = {
  IP_API_PROTO_TCP: 'tcp',
  IP_API_PROTO_UDP: 'udp',
  IP_API_PROTO_SCTP: 'sctp',
};

/** The dump says nothing of the hash: who has not set one is in no registry. */
function withHash(
  shown: ObjectOf<'translation'>,
  recorded: RecordedObject | undefined,
): ObjectOf<'translation'> {
  if (recorded?.object.kind !== 'translation') return shown;
  const hash = recorded.sure ? recorded.object.hash : unknown_hash;
  return hash === undefined ? shown : { ...shown, hash };
}

/** The other flags of a back end are of VPP's own. */
const no_nat = cnat_endpoint_tuple_flags.CNAT_EPT_NO_NAT;

function observeTranslation(translation: cnat_translation): ObjectOf<'translation'> {
  return {
    kind: 'translation',
    address: translation.vip.addr,
    port: translation.vip.port,
    protocol: protocols[translation.ip_proto] ?? 'tcp',
    backends: translation.paths.map(({ dst_ep, flags }) => ({
      address: dst_ep.addr,
      port: dst_ep.port,
      ...((flags & no_nat) !== 0 && { no_nat: true }),
    })),
    ...(translation.lb_type === 'CNAT_LB_TYPE_MAGLEV' && { lb: 'maglev' }),
  };
}
