/** The mailbox of the services actor, and what it tells those who announce addresses of services. */
import type { LifeRef, Reply } from '../actor-system.js';
import type { ServiceStatus } from '../desired/services/plan.js';
import type { ObjectKey } from '../objects/object.js';
import type { ClusterChange } from './cluster.js';
import type { EarlyNodeStatus } from './node.js';
import type { Work, WriterMessage } from './writer.js';

/**
 * Addresses of services, canonical, and whether VPP of this node serves them: true once a translation is there, false as soon as the last one is
 * to go, a moment before it does. `whole`: what is not named is not served. `known`: VPP has been read; before, one that an earlier life of this
 * program has programmed may serve more than that. Not answered, nor lost: told again as a whole to who subscribes anew.
 */
export interface ServicesProgrammed {
  readonly type: 'ServicesProgrammed';
  readonly whole: boolean;
  readonly known: boolean;
  readonly changed: ReadonlyMap<string, boolean>;
}

/** Told ServicesProgrammed from now on, first of all that there is. The last subscriber counts. */
export interface SubscribeProgrammed {
  readonly type: 'SubscribeProgrammed';
  readonly subscriber: LifeRef<ServicesProgrammed>;
}

/** What is asked of services; `service`: one of them, `namespace/name`; `dump`: VPP is asked what it has. */
export interface ServicesQuestion {
  readonly service?: string;
  readonly dump: boolean;
}

/** One translation or route of a service. */
export interface ShownVip {
  readonly key: ObjectKey;
  /**
   * `programmed`; `waiting` for its turn; `refused: …` by VPP, and why; `blocked: …` by a pod's host port; `lost: …` to an older service; `unserved: …`, for want of
   * endpoints; `going`.
   */
  readonly state: string;
  readonly desired?: readonly string[];
  readonly programmed?: readonly string[];
  /** As VPP shows it, where that was asked for. */
  readonly dumped?: readonly string[];
}

export interface ShownService {
  readonly vips: readonly ShownVip[];
  /** What pods have of it. */
  readonly conflicts?: readonly string[];
  /** What follows from its objects: addresses, outcomes and faults. Absent: there is no such service. */
  readonly plan?: ServiceStatus;
}

/** Bounded: a thousand services, first those with something wrong. */
export interface ShownServices {
  readonly services: Readonly<Record<string, ShownService>>;
  /** How many there are, shown or not. */
  readonly service_count: number;
  /** Translations of VPP that nobody here wants; with `dump` alone. */
  readonly strays?: readonly string[];
  /** By object of the API, `EndpointSlice default/web-x7k`, what of it could not be read. Some. */
  readonly objects?: Readonly<Record<string, readonly string[]>>;
}

export type ServicesMessage =
  | EarlyNodeStatus
  | ClusterChange
  | SubscribeProgrammed
  /** Answered. */
  | { readonly type: 'Show'; readonly question: ServicesQuestion; readonly reply: Reply<ShownServices> }
  /** From itself: what has waited for a while need not any longer. */
  | { readonly type: 'Due' }
  /** From itself: what pods had for host ports is free, or it is known what they have. */
  | { readonly type: 'Freed' }
  /** From itself: what VPP has is to be compared with what it should have. */
  | { readonly type: 'Audit' }
  | { readonly type: 'Audited'; readonly audit: number; readonly drift: number }
  /** From itself: a VPP without uplinks gets them, though the API server has not told of services. */
  | { readonly type: 'Unheard' }
  /** From itself: nobody waits any longer for an API server that tells of no services. */
  | { readonly type: 'Silence' }
  /** From itself: the API server is to be probed, or was. */
  | { readonly type: 'Probe' }
  | { readonly type: 'Probed'; readonly probe: number; readonly error?: Error }
  | Work
  | WriterMessage;
