import { canonicalAddress } from '../../ip/spelling.js';
import { familyOf } from '../../ip/text.js';
import type { Fields } from '../fields.js';
import { parseSelector } from '../selector.js';
import {
  asNumber,
  calico_versions,
  expected_as_number,
  type Kind,
  pickFields,
  present,
  restart_ms_max,
  type SecretKeyRef,
  secretKeyRef,
} from './kind.js';

/** Whom nodes peer with. Exactly one of `peer_address`, `peer_selector` and `local_workload_selector` is there. */
export interface BgpPeer {
  readonly name: string;
  /** The nodes that peer: one, those selected, or all. */
  readonly node?: string;
  readonly node_selector?: string;
  readonly peer_address?: string;
  readonly peer_port?: number;
  /** Of the peer; always there with `peer_address`. */
  readonly as_number?: number;
  readonly local_as_number?: number;
  /** Nodes to peer with. */
  readonly peer_selector?: string;
  /** Pods of this node to peer with; they open the session. */
  readonly local_workload_selector?: string;
  readonly next_hop_mode: 'Auto' | 'Self' | 'Keep';
  readonly password?: SecretKeyRef;
  readonly source_address: 'UseNodeIP' | 'None';
  readonly max_restart_ms?: number;
  readonly keepalive_ms?: number;
  readonly allowed_local_as?: number;
  /** Routers that a packet of the peer may have passed, and one. */
  readonly ttl_security_hops?: number;
  /** Gateway to the peer. */
  readonly reachable_by?: string;
  /** Names of BGPFilters, in order. */
  readonly filters: readonly string[];
  readonly reverse_peering: 'Auto' | 'Manual';
  /** Fields of the spec that this program does not know. */
  readonly unknown_fields: readonly string[];
}

interface Endpoint {
  readonly address: string;
  readonly port?: number;
}

/** `ip`, `ip:port` or `[ip]:port`. */
function endpoint(value: unknown): Endpoint | undefined {
  if (typeof value !== 'string') return undefined;
  const text = value.trim();
  const bare = canonicalAddress(text);
  if (bare !== undefined) return { address: bare };
  const [, in_brackets, plain, port_text] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const address = canonicalAddress(in_brackets ?? plain ?? '');
  const port = Number(port_text);
  if (address === undefined || !(port >= 1 && port <= 65_535)) return undefined;
  return { address, port };
}

/** A selector that can be read; its text. */
function selector(spec: Fields, field: string): string | undefined {
  const text = spec.text(field);
  if (text === undefined) return undefined;
  const parsed = parseSelector(text);
  if ('fault' in parsed) return spec.fault(field, `at ${parsed.fault.at}: ${parsed.fault.cause}`);
  return text;
}

interface Contradiction {
  readonly field: string;
  readonly cause: string;
}

/** Why this peer cannot be: fields that exclude each other, or are missing. */
function contradiction(spec: Fields, peer: BgpPeer): Contradiction | undefined {
  const [whom, other] = ['peerIP', 'peerSelector', 'localWorkloadSelector'].filter((field) =>
    isSet(spec, field),
  );
  if (whom === undefined)
    return { field: '', cause: 'names no peer: set peerIP with asNumber, or peerSelector' };
  if (other !== undefined) return { field: other, cause: `excludes ${whom}: remove one of them` };
  if (isSet(spec, 'node') && isSet(spec, 'nodeSelector'))
    return { field: 'nodeSelector', cause: 'excludes node: remove one of them' };
  if (whom === 'peerSelector' && isSet(spec, 'asNumber'))
    return { field: 'asNumber', cause: 'excludes peerSelector: the AS number of a node is its own' };
  if (whom === 'peerIP' && !isSet(spec, 'asNumber'))
    return { field: 'asNumber', cause: 'is missing: set the AS number of the peer' };
  const { peer_address, reachable_by } = peer;
  if (peer_address && reachable_by && familyOf(reachable_by) !== familyOf(peer_address))
    return { field: 'reachableBy', cause: 'is of another address family than peerIP' };
  return undefined;
}

/** Go writes 0 for a number that is not set. */
const isSet = (spec: Fields, field: string): boolean => (spec.raw(field) ?? 0) !== 0;

/** With one of these left out the peer would be another one, or open to more than was meant. */
const vital = [
  'node',
  'nodeSelector',
  'peerIP',
  'asNumber',
  'localASNumber',
  'peerSelector',
  'localWorkloadSelector',
  'password',
  'ttlSecurity',
  'reachableBy',
  'filters',
];

export const bgp_peer_kind: Kind<BgpPeer> = {
  name: 'BGPPeer',
  plural: 'bgppeers',
  versions: calico_versions,
  absence: 'wait',
  page: 500,
  objects_max: 20_000,
  pick: (name, object) =>
    pickFields(object, (fields, faults) => {
      const spec = fields.object('spec');
      const peer_ip = spec.read('peerIP', 'ip, ip:port or [ip]:port', endpoint);
      const keep = spec.flag('keepOriginalNextHop') === true ? 'Keep' : 'Auto';
      const peer = present<BgpPeer>({
        name,
        node: spec.text('node'),
        node_selector: selector(spec, 'nodeSelector'),
        peer_address: peer_ip?.address,
        peer_port: peer_ip?.port,
        as_number: isSet(spec, 'asNumber') ? spec.read('asNumber', expected_as_number, asNumber) : undefined,
        local_as_number: spec.read('localASNumber', expected_as_number, asNumber),
        peer_selector: selector(spec, 'peerSelector'),
        local_workload_selector: selector(spec, 'localWorkloadSelector'),
        next_hop_mode: spec.word('nextHopMode', ['Auto', 'Self', 'Keep']) ?? keep,
        password: secretKeyRef(spec, 'password'),
        source_address: spec.word('sourceAddress', ['UseNodeIP', 'None']) ?? 'UseNodeIP',
        max_restart_ms: spec.duration_ms('maxRestartTime', restart_ms_max),
        // The hold time, three times of this, has 16 bits for its seconds.
        keepalive_ms: spec.duration_ms('keepaliveTime', 21_845_000),
        allowed_local_as: spec.whole('numAllowedLocalASNumbers', 0, 10),
        ttl_security_hops: spec.whole('ttlSecurity', 0, 254) || undefined,
        reachable_by: spec.address('reachableBy'),
        filters: spec.plain('filters', 'the name of a BGPFilter', (value) =>
          typeof value === 'string' ? value : undefined,
        ),
        reverse_peering: spec.word('reversePeering', ['Auto', 'Manual']) ?? 'Auto',
        unknown_fields: spec.unread(),
      });
      const wrong = contradiction(spec, peer);
      if (wrong !== undefined) faults.add(`spec${wrong.field && `.${wrong.field}`}`, wrong.cause);
      return wrong !== undefined || vital.some((field) => faults.concern(`spec.${field}`)) ? undefined : peer;
    }),
};
