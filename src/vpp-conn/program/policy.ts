/** What npol decides of flows. */
import {
  npol_configure_policies,
  npol_ipset_add_del_members,
  npol_ipset_create,
  npol_ipset_delete,
  npol_policy_create,
  type npol_policy_default,
  npol_policy_delete,
  npol_policy_update,
  npol_rule_create,
  npol_rule_delete,
  npol_rule_update,
} from 'vpp-binapi-ts/npol';
import { portOf, protocolOf } from '../../felix/members.js';
import type { ObjectOf } from '../../objects/object.js';
import type { NpolPool } from '../../objects/policy.js';
import { type Call, call } from '../call.js';
import { type Handles, UnknownHandle } from '../handles.js';
import { none, type Programs } from './common.js';
import { interfaceMessage, policyMessage, ruleMessage } from './npol.js';

export const policy: Programs<
  | 'default_verdict'
  | 'npol_set'
  | 'npol_members'
  | 'npol_rule'
  | 'npol_policy'
  | 'npol_interface'
  | 'npol_marks'
  | 'npol_remains'
> = {
  default_verdict: {
    // With the policies of its pod at once, where they are in VPP already: another verdict would stay with the flows that met it.
    add: (o, at) => {
      const call =
        awaited(o, at) ?? verdict(o, at, o.verdict === 'allow' ? 'NPOL_DEFAULT_ALLOW' : 'NPOL_DEFAULT_DENY');
      if (o.endpoint !== undefined) at.endpoints.set(o.interface, o.endpoint);
      return [call];
    },
    remove: (o, at) => [verdict(o, at, 'NPOL_DEFAULT_ALLOW')],
  },
  npol_set: {
    // What is known under this name may have members that nobody knows of.
    add: ({ ports }) => [
      call(
        npol_ipset_create,
        { type: ports ? 'NPOL_IP_AND_PORT' : 'NPOL_NET' },
        { made: ({ set_id }) => set_id },
      ),
    ],
    remove: (o, at) => [call(npol_ipset_delete, { set_id: at.of(o) })],
  },
  npol_members: {
    add: (o, at) => [members(o, at, true)],
    remove: (o, at) => [members(o, at, false)],
  },
  npol_rule: {
    add: (o, at) => {
      const rule = ruleMessage(o.rule, (name) => at.named(`npol_set:${o.sets[name] ?? name}`));
      const rule_id = at.find(o);
      return rule_id === undefined
        ? [call(npol_rule_create, { rule }, { made: ({ rule_id }) => rule_id })]
        : [call(npol_rule_update, { rule_id, rule })];
    },
    remove: (o, at) => [call(npol_rule_delete, { rule_id: at.of(o) })],
  },
  npol_policy: {
    add: (o, at) => {
      const rules = policyMessage(o, (name) => at.named(`npol_rule:${name}`));
      const policy_id = at.find(o);
      return policy_id === undefined
        ? [call(npol_policy_create, { rules }, { made: ({ policy_id }) => policy_id })]
        : [call(npol_policy_update, { policy_id, rules })];
    },
    remove: (o, at) => [call(npol_policy_delete, { policy_id: at.of(o) })],
  },
  npol_interface: {
    add: (o, at) => {
      at.awaited.set(o.interface, o);
      const sw_if_index = at.findInterface(o.interface);
      if (sw_if_index === undefined || isOfAnother(o, at.endpoints.get(o.interface))) return none;
      return [call(npol_configure_policies, { sw_if_index, ...configuration(o, at) })];
    },
    // What it had goes with the interface, and is nothing for one that is made after it.
    remove: (o, at) => {
      at.awaited.delete(o.interface);
      return none;
    },
  },
  npol_marks: { add: () => none, remove: () => none },
  npol_remains: {
    add: () => none,
    remove: ({ pool, first, count }, at) => {
      const calls: Call[] = [];
      for (let id = first; id < first + count; id += 1)
        if (!at.hasNumber(kind_of_pool[pool], id)) calls.push(deletion[pool](id));
      return calls;
    },
  },
};

const kind_of_pool = { rules: 'npol_rule', policies: 'npol_policy', sets: 'npol_set' } as const;

const deletion: Readonly<Record<NpolPool, (id: number) => Call>> = {
  rules: (rule_id) => call(npol_rule_delete, { rule_id }),
  policies: (policy_id) => call(npol_policy_delete, { policy_id }),
  sets: (set_id) => call(npol_ipset_delete, { set_id }),
};

/** Without policies the defaults decide. */
function verdict(o: ObjectOf<'default_verdict'>, at: Handles, verdict: npol_policy_default): Call {
  return call(npol_configure_policies, {
    sw_if_index: at.interface(o.interface),
    num_rx_policies: 0,
    num_tx_policies: 0,
    invert_rx_tx: 0,
    policy_default_rx: verdict,
    policy_default_tx: verdict,
    profile_default_rx: verdict,
    profile_default_tx: verdict,
    policy_ids: [],
  });
}

/** Another pod's name of an interface is free as soon as that pod is gone, whatever is still on its way for it. */
function isOfAnother({ endpoint }: ObjectOf<'npol_interface'>, now: string | undefined): boolean {
  return endpoint !== undefined && now !== undefined && endpoint !== now;
}

/** Undefined: nothing is known of it, or one of its policies is not in VPP. */
function awaited({ interface: tag, endpoint }: ObjectOf<'default_verdict'>, at: Handles): Call | undefined {
  const known = at.awaited.get(tag);
  if (known === undefined || isOfAnother(known, endpoint)) return undefined;
  try {
    return call(npol_configure_policies, { sw_if_index: at.interface(tag), ...configuration(known, at) });
  } catch (error) {
    if (error instanceof UnknownHandle) return undefined;
    throw error;
  }
}

function configuration(o: ObjectOf<'npol_interface'>, at: Handles) {
  return interfaceMessage(o, (name) => at.named(`npol_policy:${name}`));
}

function members({ set, port, prefixes }: ObjectOf<'npol_members'>, at: Handles, is_add: boolean): Call {
  return call(npol_ipset_add_del_members, {
    set_id: at.named(`npol_set:${set}`),
    is_add,
    members: prefixes.map((prefix) => ({
      val:
        port === undefined
          ? { prefix }
          : {
              tuple: {
                address: prefix.slice(0, prefix.indexOf('/')),
                l4_proto: protocolOf(port),
                port: portOf(port),
              },
            },
    })),
  });
}
