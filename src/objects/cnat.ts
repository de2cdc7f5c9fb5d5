/** Source NAT and translations. */
import { bitsOf } from '../ip/bits.js';
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import type { Family } from '../ip/text.js';
import type { InterfaceTag } from './interfaces.js';
import { always, type Kinds, remove } from './kind.js';

/**
 * What comes by an uplink, or any interface of the default table, is judged apart in these families: by `if_pfx`, with exclusions of its own. VPP
 * has it from the start or never: after `snat_addresses` it finds those in its place. Without IPv4 the address stays as it was made.
 */
export interface SnatUplinks {
  readonly kind: 'snat_uplinks';
  readonly ip4?: string;
  readonly ip6?: string;
}

/**
 * Addresses that no machine can have (RFC 7600, RFC 6666). VPP keeps the address of a family in which it is given none: that of a node that has
 * lost its own is this one.
 */
export const nobody: Readonly<Record<Family, string>> = { 4: '192.0.0.8', 6: '100::1' };

/**
 * The addresses that source NAT uses: the node's. This or `snat_uplinks` is the first cnat call of a VPP's life, which
 * has to come before any interface is bound to a table: a table bound earlier gets no sessions, hence neither services
 * nor policies.
 */
export interface SnatAddresses {
  readonly kind: 'snat_addresses';
  readonly ip4?: string;
  readonly ip6?: string;
  /** Beside `snat_uplinks`. */
  readonly beside?: true;
}

/**
 * `if_pfx`: what comes from interfaces with a `snat_include` flag is source NATed, unless it goes to an excluded prefix. `k8s`: that, too, and what
 * neither comes from nor goes to an interface with a `snat_pod` flag, and what goes back to its own source; nothing that goes to one with
 * `snat_host`. (VPP's default translates everything.) VPP takes another one at any time.
 */
export interface SnatPolicy {
  readonly kind: 'snat_policy';
  readonly policy: 'if_pfx' | 'k8s';
  /**
   * Has the first `snat_include` flag of VPP's life, and no packets. VPP takes a policy whose map of interfaces is empty for one that
   * was never set up, sets it up again and forgets the excluded prefixes: with the first pod that goes.
   */
  readonly keeper: InterfaceTag;
}

/** Never source NATed when it goes there: by `snat_policy`, or as `snat_uplinks` judges. */
export interface SnatExclude {
  readonly kind: 'snat_exclude';
  readonly prefix: string;
  readonly of?: 'uplinks';
}

export interface Backend {
  readonly address: string;
  readonly port: number;
  /** Not rewritten: what comes from anywhere but a pod goes to the next hop of this back end as it is. */
  readonly no_nat?: true;
}

/** A load-balanced address and port: of a service, or a host port of a pod. Sessions keep their back end as long as that is in the list. */
export interface Translation {
  readonly kind: 'translation';
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** At least one. */
  readonly backends: readonly Backend[];
  /** Absent: flow hash modulo number of back ends. */
  readonly lb?: 'maglev';
  /** Bits of VPP's flow hash (see `flow_hash`); absent: VPP's own, addresses, ports and protocol. */
  readonly hash?: number;
  /** An address of the node itself. VPP makes no difference. */
  readonly real?: true;
}

/** Bits of VPP's flow hash, by the words of its configuration. */
export const flow_hash = {
  srcaddr: 0x01,
  dstaddr: 0x02,
  srcport: 0x04,
  dstport: 0x08,
  iproto: 0x10,
  reverse: 0x20,
  symmetric: 0x40,
} as const;

/** The hash of a translation that an interrupted change may have left with another one: it equals no other. */
export const unknown_hash = -1;

export type CnatObject = SnatUplinks | SnatAddresses | SnatPolicy | SnatExclude | Translation;

const nodes = { by: 'kind', owner: 'node' } as const;

export const cnat_kinds: Kinds<CnatObject> = {
  // The first cnat call of a VPP's life: it must precede the first interface_table, and the policy needs the addresses.
  snat_uplinks: {
    key: () => '',
    owner: nodes,
    same: (wanted, there) => wanted.ip4 === there.ip4 && wanted.ip6 === there.ip6,
    add: -1,
    remove: remove.global + 1,
    change: 'overwrite',
  },
  snat_addresses: {
    key: () => '',
    owner: nodes,
    same: (wanted, there) => wanted.ip4 === there.ip4 && wanted.ip6 === there.ip6,
    add: 0,
    remove: remove.global + 1,
    change: 'overwrite',
  },
  snat_policy: {
    key: () => '',
    on: (o) => [o.keeper],
    owner: nodes,
    same: (wanted, there) => wanted.policy === there.policy && wanted.keeper === there.keeper,
    add: 2,
    remove: remove.global,
    change: 'overwrite',
    recorded: always,
  },
  snat_exclude: {
    key: (o) => (o.of === undefined ? o.prefix : `${o.of}/${o.prefix}`),
    canonical: (o) => {
      const prefix = canonicalPrefix(o.prefix) ?? o.prefix;
      return prefix === o.prefix ? o : { ...o, prefix };
    },
    owner: nodes,
    same: always,
    add: 3,
    remove: remove.global,
    change: 'overwrite',
    // A flow that is judged between two of them keeps its wrong address for as long as it sends, and a ping of IPv6 has no answer under it.
    goes_behind: true,
    recorded: always,
  },
  // Some are pods', host ports: see reconcile/translation-owners.ts.
  translation: {
    key: (o) => `${o.protocol}/${o.address}/${o.port}`,
    canonical: canonicalTranslation,
    owner: { by: 'kind', owner: 'services' },
    same: (wanted, there) =>
      isAlike(wanted, there) &&
      wanted.backends.length === there.backends.length &&
      wanted.backends.every((backend, at) => {
        const other = there.backends[at]!;
        return isSameBackend(backend, other) && backend.no_nat === other.no_nat;
      }),
    add: 90,
    remove: remove.through,
    change: 'overwrite',
    // An update is answered with 0 and changes neither way nor hash of choosing, nor the flags of a back end that stays.
    anew: (wanted, there) => !isAlike(wanted, there) || changesFlags(wanted.backends, there.backends),
    // The dump shows no hash. Its back ends, which change often, are there.
    in_part: { hides: (o) => o.hash !== undefined, part: (o) => ({ ...o, backends: [] }) },
  },
};

const isSameBackend = (a: Backend, b: Backend): boolean => a.port === b.port && a.address === b.address;

const isAlike = (a: Translation, b: Translation): boolean => a.lb === b.lb && a.hash === b.hash;

/** Both in canonical order. */
function changesFlags(wanted: readonly Backend[], there: readonly Backend[]): boolean {
  let at = 0;
  for (const backend of wanted) {
    while (at < there.length && compareBackends(there[at]!, backend) < 0) at += 1;
    const other = there[at];
    if (other === undefined) return false;
    if (isSameBackend(backend, other) && backend.no_nat !== other.no_nat) return true;
  }
  return false;
}

/** By number, so that all nodes send one order: VPP fills its Maglev table by it. */
function compareBackends(a: Backend, b: Backend): number {
  if (a.address === b.address) return a.port - b.port;
  const [one, other] = [numeric(a.address), numeric(b.address)];
  return one < other ? -1 : one > other ? 1 : a.port - b.port;
}

/** Text that sorts as the address does as a number, IPv4 before IPv6. */
function numeric(canonical: string): string {
  try {
    const { bytes } = bitsOf(canonical);
    return String.fromCharCode(bytes.length) + bytes;
  } catch {
    return canonical;
  }
}

/** Back ends in one order, each of them once: VPP dies of one that is there twice. */
function canonicalTranslation(o: Translation): Translation {
  const address = canonicalAddress(o.address) ?? o.address;
  const hash = o.hash === 0 || o.hash === default_hash ? undefined : o.hash;
  const backends = canonicalBackends(o.backends);
  if (address === o.address && backends === o.backends && hash === o.hash) return o;
  const { hash: _, ...rest } = o;
  return { ...rest, address, backends, ...(hash !== undefined && { hash }) };
}

/** What VPP takes for 0: addresses, ports, protocol and flow label. */
const default_hash = 0x9f;

function canonicalBackends(backends: readonly Backend[]): readonly Backend[] {
  if (isCanonical(backends)) return backends;
  const spelled = backends.map((backend) => {
    const own = canonicalAddress(backend.address) ?? backend.address;
    return own === backend.address ? backend : { ...backend, address: own };
  });
  return spelled
    .sort(compareBackends)
    .filter((backend, at) => at === 0 || !isSameBackend(spelled[at - 1]!, backend));
}

/** As whoever plans by the thousand hands them over: each is looked at once. */
function isCanonical(backends: readonly Backend[]): boolean {
  let last = '';
  let last_port = -1;
  for (const { address, port } of backends) {
    if ((canonicalAddress(address) ?? address) !== address) return false;
    const number = numeric(address);
    if (number < last || (number === last && port <= last_port)) return false;
    last = number;
    last_port = port;
  }
  return true;
}
