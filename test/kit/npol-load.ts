/** Puts what a compiler made into the stand-in's npol, all of it and at once: what comes of order is for who writes. */
import { Npol } from '../../lab/vpp/npol.js';
import { addressText, prefixText } from '../../src/felix/address-set.js';
import { portOf, protocolOf } from '../../src/felix/members.js';
import type { NpolInterface, SetRef } from '../../src/objects/npol.js';
import { ruleName, setName, setsOf } from '../../src/objects/npol.js';
import { interfaceObject } from '../../src/policies/objects.js';
import { membersOf } from '../../src/policies/set-members.js';
import { interfaceMessage, policyMessage, ruleMessage } from '../../src/vpp-conn/program/npol.js';

export function atOnce<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value as T;
  }
}

/** Interfaces in the order of their numbers, from 1. */
export function loaded(interfaces: readonly NpolInterface[], sets: Parameters<typeof membersOf>[1]): Npol {
  const npol = new Npol();
  const ids = new Map<string, number>();
  const known = (name: string, make: () => number): number => {
    const id = ids.get(name) ?? make();
    ids.set(name, id);
    return id;
  };
  const setId = (set: SetRef) =>
    known(`set ${setName(set)}`, () => {
      const made = npol.sets.add((id) => ({
        id,
        type: set.port === undefined ? 'NPOL_NET' : 'NPOL_IP_AND_PORT',
        members: [],
      }));
      const members = [...atOnce(membersOf(set, sets))].map((prefix) =>
        set.port === undefined
          ? prefixText(prefix)
          : { address: addressText(prefix), l4_proto: protocolOf(set.port), port: portOf(set.port) },
      );
      npol.change(made, true, members);
      return made.id;
    });
  for (const [i, of] of interfaces.entries()) {
    const policies = [...of.rx.policies, ...of.tx.policies, ...of.profiles];
    for (const policy of policies) {
      for (const rule of [...policy.rx, ...policy.tx])
        known(`rule ${ruleName(rule)}`, () => {
          for (const set of setsOf(rule.match)) setId(set);
          return npol.setRule(
            undefined,
            ruleMessage(rule, (name) => ids.get(`set ${name}`)!),
          );
        });
      known(`policy ${policy.name}`, () =>
        npol.setPolicy(
          undefined,
          policyMessage(
            { rx: policy.rx.map(ruleName), tx: policy.tx.map(ruleName) },
            (name) => ids.get(`rule ${name}`)!,
          ),
        ),
      );
    }
    npol.configure(
      i + 1,
      interfaceMessage(interfaceObject(of), (name) => ids.get(`policy ${name}`)!),
    );
  }
  return npol;
}
