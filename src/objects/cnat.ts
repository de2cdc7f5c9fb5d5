/** Source NAT and translations. */
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import type { InterfaceTag } from './interfaces.js';
import { always, type Kinds, remove } from './kind.js';

/**
 * The addresses that source NAT uses: the node's. Beside its own meaning it is the first cnat call of a VPP's life, which
 * has to come before any interface is bound to a table: a table bound earlier gets no sessions, hence neither services
 * nor policies.
 */
export interface SnatAddresses {
  readonly kind: 'snat_addresses';
  readonly ip4?: string;
  readonly ip6?: string;
}

/**
 * `if_pfx`: what comes from interfaces with a `snat_include` flag is source NATed, unless it goes to an excluded prefix. (VPP's
 * default translates everything; its policy for Kubernetes also what passes from uplink to uplink, as a packet to a pod does
 * in the moment before the pod is programmed, and its flow then stays so.)
 */
export interface SnatPolicy {
  readonly kind: 'snat_policy';
  readonly policy: 'if_pfx';
  /**
   * Has the first `snat_include` flag of VPP's life, and no packets. VPP takes a policy whose map of interfaces is empty for one that
   * was never set up, sets it up again and forgets the excluded prefixes: with the first pod that goes.
   */
  readonly keeper: InterfaceTag;
}

/** Never source NATed when it goes there. */
export interface SnatExclude {
  readonly kind: 'snat_exclude';
  readonly prefix: string;
}

export interface Backend {
  readonly address: string;
  readonly port: number;
  /** Not rewritten: it goes to the next hop of this back end as it is (DSR). */
  readonly no_nat?: true;
}

/** A load-balanced address and port: of a service, or a host port of a pod. */
export interface Translation {
  readonly kind: 'translation';
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly backends: readonly Backend[];
  /** Absent: by flow hash. */
  readonly lb?: 'maglev';
  /** Bits of VPP's flow hash; absent: VPP's default. */
  readonly hash?: number;
  /** An address of a node itself. */
  readonly real?: true;
}

export type CnatObject = SnatAddresses | SnatPolicy | SnatExclude | Translation;

const nodes = { by: 'kind', owner: 'node' } as const;

export const cnat_kinds: Kinds<CnatObject> = {
  // The first cnat call of a VPP's life: it must precede the first interface_table, and the policy needs the addresses.
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
    key: (o) => o.prefix,
    canonical: (o) => {
      const prefix = canonicalPrefix(o.prefix) ?? o.prefix;
      return prefix === o.prefix ? o : { ...o, prefix };
    },
    owner: nodes,
    same: always,
    add: 3,
    remove: remove.global,
    change: 'overwrite',
    recorded: always,
  },
  // Some are pods', host ports: see reconcile/translation-owners.ts.
  translation: {
    key: (o) => `${o.protocol}/${o.address}/${o.port}`,
    canonical: canonicalTranslation,
    owner: { by: 'kind', owner: 'services' },
    same: (wanted, there) =>
      wanted.backends.length === there.backends.length &&
      wanted.backends.every(
        ({ address, port }, at) =>
          address === there.backends[at]!.address && port === there.backends[at]!.port,
      ),
    add: 90,
    remove: remove.through,
    change: 'overwrite',
  },
};

/** Back ends in one order, each of them once: VPP dies of one that is there twice. */
function canonicalTranslation(o: Translation): Translation {
  const address = canonicalAddress(o.address) ?? o.address;
  const by_text = new Map(
    o.backends.map((backend) => {
      const own = canonicalAddress(backend.address) ?? backend.address;
      return [`${own} ${backend.port}`, own === backend.address ? backend : { ...backend, address: own }];
    }),
  );
  const backends = [...by_text.keys()].sort().map((text) => by_text.get(text)!);
  const unchanged =
    address === o.address &&
    backends.length === o.backends.length &&
    backends.every((backend, at) => backend === o.backends[at]);
  return unchanged ? o : { ...o, address, backends };
}
