/** How new flows of a service are spread over its back ends: what annotations and session affinity come to. Pure. */
import type { Service } from '../../calico/kinds/service.js';
import { flow_hash } from '../../objects/cnat.js';

export interface Balancing {
  readonly lb?: 'maglev';
  /** Bits of VPP's flow hash; absent: VPP's default. */
  readonly hash?: number;
  /** Packets go to a back end's node as they are, and are translated there. */
  readonly dsr: boolean;
  readonly faults: readonly string[];
}

const fields =
  flow_hash.srcaddr | flow_hash.dstaddr | flow_hash.srcport | flow_hash.dstport | flow_hash.iproto;

/**
 * Session affinity is a table of Maglev by the client's address: one client, one back end, on every node, as long as the back ends are the same;
 * nothing remembers clients. Annotations go before it.
 */
export function balancing({ lb_type, hash: words, affinity_ms }: Service): Balancing {
  const faults: string[] = [];
  const affinity = affinity_ms !== undefined;
  let hash = words.reduce((all, word) => all | flow_hash[word], 0);
  if (hash !== 0 && (hash & fields) === 0) {
    faults.push(
      `annotation vppHashConfig names no field (${words.join(', ')}): all flows would go to one back end; the default is used`,
    );
    hash = 0;
  }
  if (affinity && (hash & flow_hash.srcport) !== 0)
    faults.push(
      'annotation vppHashConfig with srcport goes before sessionAffinity ClientIP: a client is not kept at one back end; take one of them away',
    );
  if (affinity && lb_type === 'ecmp')
    faults.push(
      'annotation vppLBType ecmp goes before sessionAffinity ClientIP: most clients move when a back end comes or goes; take one of them away',
    );
  if (affinity && hash === 0) hash = flow_hash.srcaddr;
  const maglev = lb_type === undefined ? affinity : lb_type !== 'ecmp';
  return {
    ...(maglev && { lb: 'maglev' as const }),
    ...(hash !== 0 && { hash }),
    dsr: lb_type === 'maglevdsr',
    faults,
  };
}
