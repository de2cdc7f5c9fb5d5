/**
 * IKEv2's profiles and SAs, back from VPP. Of its dumps of SAs the first version alone is asked for: the later ones, and `show ikev2 sa`, look up the
 * profile of each SA, and VPP dies of one that has none yet, as when anybody has begun with it and not proved who he is.
 */
import { ikev2_child_sa_dump, ikev2_profile_dump, ikev2_sa_dump } from 'vpp-binapi-ts/ikev2';
import type { ikev2_profile } from 'vpp-binapi-ts/ikev2_types';
import { sw_interface_dump } from 'vpp-binapi-ts/interface';
import { if_status_flags } from 'vpp-binapi-ts/interface_types';
import { ipsec_tunnel_protect_dump } from 'vpp-binapi-ts/ipsec';
import { Secret } from '../../config/secret.js';
import type { InterfaceTag } from '../../objects/interfaces.js';
import { type IpsecObject, ikePeerOf } from '../../objects/ipsec.js';
import type { Handles } from '../handles.js';
import { no_interface } from '../paths.js';
import type { Reader, TagOf } from './reader.js';

const shared_key = 2;

/** Profiles of ours, and that VPP was told to begin where it is the end that does. */
export async function observeIke(reader: Reader, tagOf: TagOf): Promise<readonly IpsecObject[]> {
  const dumped = await reader.dump(ikev2_profile_dump, {});
  return dumped.flatMap(({ profile }) => objectsOf(profile, tagOf));
}

function objectsOf({ name, tun_itf, responder, auth }: ikev2_profile, tagOf: TagOf): readonly IpsecObject[] {
  const dst = ikePeerOf(name);
  if (dst === undefined) return [];
  const on = { name, interface: tagOf(tun_itf) };
  const begins = responder.sw_if_index !== no_interface;
  const psk =
    auth.method === shared_key && auth.data.length > 0
      ? new Secret(new TextDecoder().decode(auth.data))
      : undefined;
  return [
    {
      kind: 'ike_profile',
      ...on,
      // What it shows of the names that the ends give themselves breaks off at a byte of 0.
      src: '',
      dst,
      ...(begins && { begins_by: tagOf(responder.sw_if_index) }),
      ...(psk && { psk }),
    },
    ...(begins ? [{ kind: 'ike_initiation', ...on } as const] : []),
  ];
}

/** How the tunnel of a profile is. */
export interface IkeTunnelState {
  readonly tag: InterfaceTag;
  /**
   * `up`: it has an SA. `clear`: it is up without one, as VPP leaves it when new keys do not replace the old ones, and what goes by it is not encrypted.
   * `gone`: VPP has taken it away.
   */
  readonly state: 'up' | 'down' | 'clear' | 'gone';
  /** IKE has one with that node, which need not have come to anything. */
  readonly has_sa: boolean;
  /** Of the keys in use, as VPP names them where it is to replace them. Absent: it was not asked for, or no SA has any. */
  readonly spi?: number;
}

export interface IkeEnds {
  readonly tag: InterfaceTag;
  readonly src: string;
  readonly dst: string;
  /** Its `spi` is asked for, too: that costs a request. */
  readonly needs_spi?: boolean;
}

/** So many are asked for at once. */
const asked_max = 32;
/** SAs of two addresses that are asked for their child: whoever can send by one of these may have begun with any number. */
const sas_max = 64;

export async function observeIkeTunnels(
  reader: Reader,
  handles: Handles,
  tunnels: readonly IkeEnds[],
): Promise<readonly IkeTunnelState[]> {
  const sas = await sasOf(reader);
  const found = await flagsOf(reader);
  const spis = await spisOf(reader, tunnels, sas);
  const states = tunnels.map((ends): IkeTunnelState => {
    const { tag } = ends;
    const spi = spis.get(tag);
    const state = stateOf(handles, tag, found);
    return { tag, state, has_sa: sas.has(pairOf(ends)), ...(spi !== undefined && { spi }) };
  });
  const clear = await clearOf(reader, handles, states);
  return states.map((each) => (clear.has(each.tag) ? { ...each, state: 'clear' } : each));
}

/** By their two addresses. There may be several: of others who begin, and of before. */
async function sasOf(reader: Reader): Promise<ReadonlyMap<string, readonly number[]>> {
  const of = new Map<string, number[]>();
  for (const { sa } of await reader.dump(ikev2_sa_dump, {})) {
    const pair = pairOf({ src: sa.iaddr, dst: sa.raddr });
    const indexes = of.get(pair);
    if (indexes === undefined) of.set(pair, [sa.sa_index]);
    else indexes.push(sa.sa_index);
  }
  return of;
}

type Flags = ReadonlyMap<number, { readonly tag: string; readonly flags: number }>;

/** Of all IPIP tunnels at once, as VPP names them. */
async function flagsOf(reader: Reader): Promise<Flags> {
  const dumped = await reader.dump(sw_interface_dump, {
    sw_if_index: no_interface,
    name_filter_valid: true,
    name_filter: 'ipip',
  });
  return new Map(dumped.map(({ sw_if_index, tag, flags }) => [sw_if_index, { tag, flags }]));
}

async function spisOf(
  reader: Reader,
  tunnels: readonly IkeEnds[],
  sas: ReadonlyMap<string, readonly number[]>,
): Promise<ReadonlyMap<InterfaceTag, number>> {
  const asked = tunnels.filter(({ needs_spi }) => needs_spi);
  const spis = new Map<InterfaceTag, number>();
  for (let at = 0; at < asked.length; at += asked_max) {
    const some = asked.slice(at, at + asked_max).map(async (ends) => {
      const spi = await spiOf(reader, sas.get(pairOf(ends)) ?? []);
      if (spi !== undefined) spis.set(ends.tag, spi);
    });
    await Promise.all(some);
  }
  return spis;
}

/** VPP brings a tunnel up, and down, with its keys: one that is up before and after it is asked for those has none. */
async function clearOf(
  reader: Reader,
  handles: Handles,
  states: readonly IkeTunnelState[],
): Promise<ReadonlySet<InterfaceTag>> {
  const encrypted = await reader.dump(ipsec_tunnel_protect_dump, { sw_if_index: no_interface });
  const has_keys = new Set(encrypted.map(({ tun }) => tun.sw_if_index));
  const without = states.filter(
    ({ tag, state }) => state === 'up' && !has_keys.has(handles.findInterface(tag) ?? no_interface),
  );
  if (without.length === 0) return new Set();
  const found = await flagsOf(reader);
  return new Set(without.flatMap(({ tag }) => (stateOf(handles, tag, found) === 'up' ? tag : [])));
}

function stateOf(handles: Handles, tag: InterfaceTag, all: Flags): 'up' | 'down' | 'gone' {
  const found = all.get(handles.findInterface(tag) ?? no_interface);
  // Its index may be another one's by now.
  if (found === undefined || found.tag !== tag) return 'gone';
  return (found.flags & if_status_flags.IF_STATUS_API_FLAG_ADMIN_UP) === 0 ? 'down' : 'up';
}

const pairOf = ({ src, dst }: Pick<IkeEnds, 'src' | 'dst'>): string => [src, dst].sort().join(' ');

/** Of the SA that has come to something. VPP wants it with its bytes turned round. */
async function spiOf(reader: Reader, sas: readonly number[]): Promise<number | undefined> {
  for (const sa_index of sas.slice(0, sas_max)) {
    const [child] = await reader.dump(ikev2_child_sa_dump, { sa_index });
    if (child === undefined) continue;
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(child.child_sa.i_spi);
    return bytes.readUInt32LE();
  }
  return undefined;
}
