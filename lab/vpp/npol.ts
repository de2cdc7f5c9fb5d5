/** VPP's npol as far as the API shows it: rules, policies, IP sets and what each interface has. What it says of a flow: npol-verdict.ts. */
import type {
  npol_configure_policies,
  npol_ipset_type,
  npol_policy_item,
  npol_rule,
} from 'vpp-binapi-ts/npol';
import { Death, refuse, retval } from './outcome.js';
import { Pool } from './pool.js';
import { networkOf } from './prefix.js';

export interface IpPort {
  readonly address: string;
  readonly l4_proto: number;
  readonly port: number;
}

/** An address or a prefix as text, or an address with protocol and port. Equal ones are kept beside each other. */
export type Member = string | IpPort;

export interface IpSet {
  readonly id: number;
  readonly type: npol_ipset_type;
  members: Member[];
}

interface Stored<T> {
  readonly id: number;
  readonly value: T;
}

export type InterfacePolicies = Omit<npol_configure_policies, 'sw_if_index'>;

export class Npol {
  readonly rules = new Pool<Stored<npol_rule>>();
  readonly policies = new Pool<Stored<readonly npol_policy_item[]>>();
  readonly sets = new Pool<IpSet>();
  readonly interfaces = new Map<number, InterfacePolicies>();
  readonly #deleted_actions = new Map<number, npol_rule['action']>();
  /** Something refers, or has referred, to what was never there. */
  dangling = false;

  /** An id that is not there makes a new object, under an id that the caller does not learn. */
  setRule(id: number | undefined, rule: npol_rule): number {
    for (const entry of rule.matches) {
      if (entry.type.startsWith('unknown_')) refuse(retval.UNSPECIFIED);
      if ('cidr' in entry.data) checkNetwork(entry.data.cidr);
      if ('set_id' in entry.data) this.dangling ||= entry.data.set_id.set_id >= this.sets.end;
    }
    return store(this.rules, id, rule);
  }

  setPolicy(id: number | undefined, items: readonly npol_policy_item[]): number {
    this.dangling ||= items.some(({ rule_id }) => rule_id >= this.rules.end);
    return store(this.policies, id, items);
  }

  remove(pool: Pool<{ readonly id: number }>, id: number): void {
    if (pool.get(id) === undefined) refuse(retval.NO_SUCH_ENTRY);
    const rule = this.rules === pool ? this.rules.get(id) : undefined;
    if (rule !== undefined) this.#deleted_actions.set(id, rule.value.action);
    pool.remove(id);
  }

  /** What a rule that was deleted last did: who still refers to it meets that, until its id is given out again. */
  deletedAction(id: number): npol_rule['action'] | undefined {
    return this.#deleted_actions.get(id);
  }

  set(id: number): IpSet {
    return this.sets.get(id) ?? refuse(retval.NO_SUCH_ENTRY);
  }

  /** Members before one that is refused stay. */
  change(set: IpSet, is_add: boolean, members: readonly Member[]): void {
    for (const member of members) {
      if (set.type === 'NPOL_NET') checkNetwork(member as string);
      if (is_add) set.members.push(member);
      else set.members = set.members.filter((known) => !isTakenFor(known, member));
    }
  }

  configure(sw_if_index: number, wanted: InterfacePolicies): void {
    const { num_rx_policies, num_tx_policies, policy_ids } = wanted;
    if (num_rx_policies + num_tx_policies > policy_ids.length) {
      throw new Death('npol_configure_policies with fewer ids than it announces');
    }
    // Positive: callers that test for negative numbers take it for success.
    if (policy_ids.some((id) => this.policies.get(id) === undefined)) refuse(1);
    this.interfaces.set(sw_if_index, wanted);
  }

  /** Why VPP dies of a packet that is judged on this interface; undefined: it does not. */
  deadlyOn(sw_if_index: number): string | undefined {
    const { policy_ids = [] } = this.interfaces.get(sw_if_index) ?? {};
    for (const { rule_id } of policy_ids.flatMap((id) => this.policies.get(id)?.value ?? [])) {
      if (rule_id >= this.rules.end) return `a packet is judged by rule ${rule_id}, which does not exist`;
      for (const { data } of this.rules.get(rule_id)?.value.matches ?? []) {
        if ('set_id' in data && data.set_id.set_id >= this.sets.end)
          return `a packet is compared with IP set ${data.set_id.set_id}, which does not exist`;
      }
    }
    return undefined;
  }
}

function store<T>(pool: Pool<Stored<T>>, id: number | undefined, value: T): number {
  if (id === undefined || pool.get(id) === undefined) return pool.add((made) => ({ id: made, value })).id;
  pool.replace(id, { id, value });
  return id;
}

function checkNetwork(prefix: string): void {
  if (networkOf(prefix) !== prefix) refuse(retval.IP_PREFIX_INVALID);
}

/**
 * What VPP removes for a member: of addresses and prefixes the equal ones. Of addresses with ports its comparison is the wrong
 * way round, so that all go but those of the same protocol and port with another address.
 */
function isTakenFor(known: Member, removed: Member): boolean {
  if (typeof known === 'string' || typeof removed === 'string') return known === removed;
  const same_port = known.port === removed.port && known.l4_proto === removed.l4_proto;
  return !(same_port && known.address !== removed.address);
}
