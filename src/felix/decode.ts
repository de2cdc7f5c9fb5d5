/** A message of Felix's stream, of any version, to data. Nothing is thrown: what cannot be read is a message that says so. */
import { fromBinary } from '@bufbuild/protobuf';
import { wireguardKey } from '../calico/kinds/node.js';
import type { Family } from '../ip/text.js';
import {
  type HostEndpoint as HostEndpointMessage,
  type IcmpTypeAndCode,
  type PolicyID,
  PolicyIDSchema,
  type Protocol,
  type Rule as RuleMessage,
  type TierInfo,
  type ToDataplane,
  ToDataplaneSchema,
  type WorkloadEndpointID,
  type WorkloadEndpoint as WorkloadEndpointMessage,
} from './generated/felix_pb.js';
import { readSetHead, type SetUpdate } from './members.js';
import type {
  FelixMessage,
  HostEndpoint,
  Icmp,
  PolicyKey,
  PolicyRef,
  Rule,
  Side,
  Tier,
  WorkloadEndpoint,
} from './messages.js';

/** Members of the union that Felix is known to send and that are not read: 14 and 16 to 38, but for keys of WireGuard. */
function isIgnored(field: number): boolean {
  return field === 14 || (field >= 16 && field <= 38);
}

export function decode(bytes: Uint8Array): FelixMessage {
  try {
    return messageOf(fromBinary(ToDataplaneSchema, bytes));
  } catch (error) {
    return { kind: 'unreadable', why: `${bytes.length} bytes that are no message: ${String(error)}` };
  }
}

function messageOf({ payload, $unknown }: ToDataplane): FelixMessage {
  switch (payload.case) {
    case 'inSync':
      return { kind: 'in_sync' };
    case 'configUpdate':
      return { kind: 'config', config: new Map(Object.entries(payload.value.config)) };
    case 'ipsetUpdate':
      return setMessage('set', readSetHead(payload.value));
    case 'ipsetDeltaUpdate':
      return setMessage('set_delta', readSetHead(payload.value));
    case 'ipsetRemove': {
      const { id } = payload.value;
      return id === '' ? nameless('ipset_remove') : { kind: 'set_removed', id };
    }
    case 'activePolicyUpdate': {
      const { id, policy } = payload.value;
      if (!id?.name) return nameless('active_policy_update');
      return {
        kind: 'policy',
        key: policyKey(id),
        policy: {
          ...rulesOf(policy),
          untracked: policy?.untracked === true,
          pre_dnat: policy?.preDnat === true,
        },
      };
    }
    case 'activePolicyRemove': {
      const { id } = payload.value;
      return id?.name ? { kind: 'policy_removed', key: policyKey(id) } : nameless('active_policy_remove');
    }
    case 'activeProfileUpdate': {
      const { id, profile } = payload.value;
      if (!id?.name) return nameless('active_profile_update');
      return { kind: 'profile', name: id.name, profile: rulesOf(profile) };
    }
    case 'activeProfileRemove': {
      const { id } = payload.value;
      return id?.name ? { kind: 'profile_removed', name: id.name } : nameless('active_profile_remove');
    }
    case 'workloadEndpointUpdate': {
      const { id, endpoint } = payload.value;
      if (!id?.workloadId) return nameless('workload_endpoint_update');
      return { kind: 'workload', key: workloadKey(id), endpoint: workloadOf(id, endpoint) };
    }
    case 'workloadEndpointRemove': {
      const { id } = payload.value;
      if (!id?.workloadId) return nameless('workload_endpoint_remove');
      return { kind: 'workload_removed', key: workloadKey(id) };
    }
    case 'hostEndpointUpdate': {
      const { id, endpoint } = payload.value;
      if (!id?.endpointId) return nameless('host_endpoint_update');
      return { kind: 'host', id: id.endpointId, endpoint: hostOf(endpoint) };
    }
    case 'hostEndpointRemove': {
      const { id } = payload.value;
      return id?.endpointId ? { kind: 'host_removed', id: id.endpointId } : nameless('host_endpoint_remove');
    }
    case 'wireguardEndpointUpdate':
      return keyOf(payload.value.hostname, 4, payload.value.publicKey);
    case 'wireguardEndpointV6Update':
      return keyOf(payload.value.hostname, 6, payload.value.publicKeyV6);
    case 'wireguardEndpointRemove':
      return keyOf(payload.value.hostname, 4, '');
    case 'wireguardEndpointV6Remove':
      return keyOf(payload.value.hostname, 6, '');
    case undefined: {
      const field = $unknown?.[0]?.no;
      return field !== undefined && isIgnored(field) ? { kind: 'ignored' } : { kind: 'unknown', field };
    }
  }
}

/** One that is no key is none: its node is reached as one that has none, and the message is told to people. */
function keyOf(node: string, family: Family, text: string): FelixMessage {
  if (node === '') return nameless('wireguard_endpoint');
  if (text === '') return { kind: 'wireguard_key', node, family, key: undefined };
  const key = wireguardKey(text);
  if (key === undefined)
    return { kind: 'unreadable', why: `wireguard_endpoint_update of node ${node} has no key of 32 bytes` };
  return { kind: 'wireguard_key', node, family, key };
}

function nameless(message: string): FelixMessage {
  return { kind: 'unreadable', why: `${message} names no object` };
}

function setMessage(kind: 'set' | 'set_delta', update: SetUpdate): FelixMessage {
  return update.id === '' ? nameless(`ip${kind}_update`) : { kind, update };
}

function workloadKey({ orchestratorId, workloadId, endpointId }: WorkloadEndpointID): string {
  return `${orchestratorId} ${workloadId} ${endpointId}`;
}

/** Kinds have no `|` in them, and Calico's names neither. */
function policyKey({ tier, name, namespace, kind }: PolicyID): PolicyKey {
  return kind === '' ? `${tier}|${name}` : `${kind} ${namespace === '' ? '' : `${namespace}/`}${name}`;
}

/** Staged policies are told by their kind; in 3.30 and 3.31 by their name, which may stand behind a namespace. */
function isStaged({ kind, name }: Pick<PolicyID, 'kind' | 'name'>): boolean {
  return kind === '' ? /^([^/]*\/)?staged:/.test(name) : kind.startsWith('Staged');
}

/** The tag of a PolicyID's name: no name of a policy begins with this character. */
const policy_id_begins = 0x12;

function policyRef(tier: string, bytes: Uint8Array): PolicyRef {
  if (bytes[0] !== policy_id_begins) {
    const name = Buffer.from(bytes).toString('utf8');
    return { key: `${tier}|${name}`, staged: isStaged({ kind: '', name }) };
  }
  try {
    const id = fromBinary(PolicyIDSchema, bytes);
    return { key: policyKey(id), staged: isStaged(id) };
  } catch {
    // No policy has this name: who refers to it is closed.
    return { key: `unreadable reference ${Buffer.from(bytes).toString('hex')}`, staged: false };
  }
}

function tiersOf(tiers: readonly TierInfo[]): Tier[] {
  return tiers.map(({ name, ingressPolicies, egressPolicies, defaultAction }) => ({
    name,
    ingress: ingressPolicies.map((bytes) => policyRef(name, bytes)),
    egress: egressPolicies.map((bytes) => policyRef(name, bytes)),
    end: defaultAction.toLowerCase() === 'pass' ? 'pass' : 'deny',
  }));
}

function workloadOf(id: WorkloadEndpointID, endpoint?: WorkloadEndpointMessage): WorkloadEndpoint {
  return {
    active: endpoint?.state === 'active',
    profiles: endpoint?.profileIds ?? [],
    nets: [...(endpoint?.ipv4Nets ?? []), ...(endpoint?.ipv6Nets ?? [])],
    tiers: tiersOf(endpoint?.tiers ?? []),
    id: { orchestrator: id.orchestratorId, workload: id.workloadId, endpoint: id.endpointId },
    name: endpoint?.name ?? '',
  };
}

function hostOf(endpoint?: HostEndpointMessage): HostEndpoint {
  return {
    name: endpoint?.name ?? '',
    addresses: [...(endpoint?.expectedIpv4Addrs ?? []), ...(endpoint?.expectedIpv6Addrs ?? [])],
    profiles: endpoint?.profileIds ?? [],
    tiers: tiersOf(endpoint?.tiers ?? []),
    untracked: tiersOf(endpoint?.untrackedTiers ?? []),
    pre_dnat: tiersOf(endpoint?.preDnatTiers ?? []),
    forward: tiersOf(endpoint?.forwardTiers ?? []),
  };
}

function rulesOf(
  of: { readonly inboundRules: RuleMessage[]; readonly outboundRules: RuleMessage[] } | undefined,
): { readonly inbound: readonly Rule[]; readonly outbound: readonly Rule[] } {
  return {
    inbound: of?.inboundRules.map(ruleOf) ?? [],
    outbound: of?.outboundRules.map(ruleOf) ?? [],
  };
}

/**
 * Fields of a rule that say nothing of what it matches at layers 3 and 4: the selectors and service accounts that sets were made of
 * (114 to 121, 130 to 133), what Felix leaves to layer 7 (122) and the rule's own id (201).
 */
function saysNothing(field: number): boolean {
  return (field >= 114 && field <= 122) || (field >= 130 && field <= 133) || field === 201;
}

/** Of a rule's metadata: the network beside the default one that it is for, as in the Go implementation. */
const network_annotation = 'extensions.projectcalico.org/network';

function ruleOf(rule: RuleMessage): Rule {
  const network = rule.metadata?.annotations[network_annotation] ?? '';
  return {
    action: rule.action.toLowerCase(),
    ip_version: rule.ipVersion,
    protocol: protocolOf(rule.protocol),
    not_protocol: protocolOf(rule.notProtocol),
    icmp:
      rule.icmp.case === 'icmpType' ? { type: rule.icmp.value, code: undefined } : icmpOf(rule.icmp.value),
    not_icmp:
      rule.notIcmp.case === 'notIcmpType'
        ? { type: rule.notIcmp.value, code: undefined }
        : icmpOf(rule.notIcmp.value),
    src: sideOf(rule.srcNet, rule.srcIpSetIds, rule.srcPorts, rule.srcNamedPortIpSetIds),
    dst: sideOf(rule.dstNet, rule.dstIpSetIds, rule.dstPorts, rule.dstNamedPortIpSetIds),
    not_src: sideOf(rule.notSrcNet, rule.notSrcIpSetIds, rule.notSrcPorts, rule.notSrcNamedPortIpSetIds),
    not_dst: sideOf(rule.notDstNet, rule.notDstIpSetIds, rule.notDstPorts, rule.notDstNamedPortIpSetIds),
    services: rule.dstIpPortSetIds,
    ...(network !== '' && { network }),
    unknown: (rule.$unknown ?? []).map(({ no }) => no).filter((no) => !saysNothing(no)),
  };
}

/** One that is neither number nor name is the empty name, which no protocol has. */
function protocolOf(protocol: Protocol | undefined): number | string | undefined {
  return protocol && (protocol.numberOrName.value ?? '');
}

function icmpOf(icmp: IcmpTypeAndCode | undefined): Icmp | undefined {
  return icmp && { type: icmp.type, code: icmp.code };
}

function sideOf(
  nets: readonly string[],
  sets: readonly string[],
  ports: readonly { readonly first: number; readonly last: number }[],
  named_ports: readonly string[],
): Side {
  return { nets, sets, ports: ports.map(({ first, last }) => ({ first, last })), named_ports };
}
