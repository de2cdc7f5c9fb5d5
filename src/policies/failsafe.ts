/** Felix's configuration, as far as policies depend on it. */

import { isV4, prefixText } from '../felix/address-set.js';
import { parsePrefixText } from '../felix/members.js';
import { match_all, type NpolRule, no_entries } from '../objects/npol.js';

export interface PolicyConfig {
  /** What becomes of flows from this node's pods to the node itself, if their own policies let them out. */
  readonly endpoint_to_host: 'allow' | 'deny';
  /** Ports of the node that no policy of a host endpoint closes; destinations in both directions. */
  readonly failsafe_inbound: readonly NpolRule[];
  readonly failsafe_outbound: readonly NpolRule[];
  /** UDP to this port is VXLAN, which pods may not send; undefined: they may. */
  readonly vxlan_port: number | undefined;
  /** Values that could not be read. Of a list of ports the others count; any other value is Felix's default. */
  readonly problems: readonly string[];
}

const inbound_default = 'tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667';
const outbound_default = 'udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667';

/** Of merged values by canonical name, as ConfigUpdate has them. */
export function policyConfig(config: ReadonlyMap<string, string>): PolicyConfig {
  const problems: string[] = [];
  const action = (config.get('DefaultEndpointToHostAction') ?? 'DROP').toUpperCase();
  // RETURN leaves it to the firewall of the host: VPP lets it go there.
  const known = ['DROP', 'RETURN', 'ACCEPT', 'NONE'].includes(action);
  if (!known) problems.push(`DefaultEndpointToHostAction=${action}: not known, DROP counts`);
  const ports = (name: string, by_default: string, side: 'src' | 'dst') => {
    const { rules, bad } = failsafeRules(config.get(name) ?? by_default, side);
    problems.push(...bad.map((item) => `${name}: '${item}' is no port, and is left out`));
    return rules;
  };
  return {
    endpoint_to_host: action === 'ACCEPT' || action === 'RETURN' ? 'allow' : 'deny',
    failsafe_inbound: ports('FailsafeInboundHostPorts', inbound_default, 'src'),
    failsafe_outbound: ports('FailsafeOutboundHostPorts', outbound_default, 'dst'),
    vxlan_port: isTrue(config.get('AllowVXLANPacketsFromWorkloads'))
      ? undefined
      : vxlanPort(config.get('VXLANPort'), problems),
    problems,
  };
}

function isTrue(value: string | undefined): boolean {
  return ['true', '1', 'yes', 'y', 't'].includes(value?.toLowerCase() ?? '');
}

function vxlanPort(text: string | undefined, problems: string[]): number {
  if (text === undefined || text.toLowerCase() === 'none') return 4789;
  if (/^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) <= 65535) return Number(text);
  problems.push(`VXLANPort=${text}: no port, 4789 counts`);
  return 4789;
}

/** `22`, `udp:68`, `tcp:10.0.0.0/8:6443`, `tcp:[fd00::/8]:6443`. Where there is a prefix it is of the other end: `side`. */
function failsafeRules(text: string, side: 'src' | 'dst'): { rules: NpolRule[]; bad: string[] } {
  const rules: NpolRule[] = [];
  const bad: string[] = [];
  if (text.trim().toLowerCase() === 'none') return { rules, bad };
  for (const item of text.split(',').map((part) => part.trim())) {
    if (item === '') continue;
    const [, protocol = 'tcp', bracketed, plain, port = ''] =
      /^(?:(tcp|udp):)?(?:\[([^\]]+)\]:|([^:]+):)?(\d{1,5})$/i.exec(item) ?? [];
    const net = bracketed ?? plain;
    const prefix = net === undefined ? undefined : parsePrefixText(net);
    const number = Number(port);
    const is_prefix = net === undefined || (prefix !== undefined && isV4(prefix) === (plain !== undefined));
    if (port === '' || number > 65535 || !is_prefix) {
      bad.push(item);
      continue;
    }
    const nets = prefix === undefined ? [] : [prefixText(prefix)];
    const dst = { ...no_entries, ports: [{ first: number, last: number }] };
    rules.push({
      action: 'allow',
      match: {
        ...match_all,
        protocol: protocol.toLowerCase() === 'udp' ? 17 : 6,
        src: side === 'src' ? { ...no_entries, nets } : no_entries,
        dst: side === 'dst' ? { ...dst, nets } : dst,
      },
    });
  }
  return { rules, bad };
}
