/** What an interface is judged by, for people: by names, in the endpoint's own sense of direction. */
import type { NpolDirectionNames, NpolInterfaceObject } from '../objects/policy.js';

/** What judges flows in one direction. */
export interface ShownDirection {
  /** In order. Those that begin with `@` are this node's own. */
  readonly policies: readonly string[];
  /** Where no policy says anything; `pass`: profiles do. */
  readonly otherwise: 'allow' | 'deny' | 'pass';
}

/** As npol has it: `ingress` and `egress` are what comes to the endpoint and what it sends, not VPP's sense of direction. */
export interface ShownJudgement {
  readonly ingress: ShownDirection;
  readonly egress: ShownDirection;
  readonly profiles: readonly string[];
}

/** What npol calls `rx` is egress of every endpoint, whichever way round its interface is. */
export function judgementOf({
  rx,
  tx,
  profiles,
}: Pick<NpolInterfaceObject, 'rx' | 'tx' | 'profiles'>): ShownJudgement {
  const direction = ({ policies, policy_default }: NpolDirectionNames) => ({
    policies,
    otherwise: policy_default,
  });
  return { ingress: direction(tx), egress: direction(rx), profiles };
}

/** Whether somebody who asks for this, if for anything, means this interface: `namespace/pod`, its endpoint, or its tag. */
export function isAskedFor(of: string | undefined, tag: string, endpoint: string): boolean {
  return of === undefined || of === tag || of === endpoint || endpoint.split(' ')[1] === of;
}

/** For people: what of the policies is not enforced. Bounded: a hundred objects each. */
export interface PoliciesReport {
  /** Nothing is enforced that is not in force already, and why; empty: it is. */
  readonly waits: string;
  /** Messages of Felix's that were not taken in, by object, and policies with rules for networks that this node does not have. */
  readonly problems: Readonly<Record<string, string>>;
  /** Values of Felix's configuration that could not be read. */
  readonly config: readonly string[];
  /** By interface, what of its policies is not enforced as it was asked for. */
  readonly refusals: Readonly<Record<string, readonly string[]>>;
  /** By object of VPP, why it was refused. It is tried again. */
  readonly refused: Readonly<Record<string, string>>;
}
