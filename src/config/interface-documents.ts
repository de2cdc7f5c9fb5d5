/** What the documents CALICOVPP_INTERFACES and CALICOVPP_INITIAL_CONFIG say beyond single values: limits that others set, pairs that must fit. */
import { isIP } from 'node:net';
import type { RedirectToHostRule } from '../config.js';
import {
  capped,
  excess,
  fillIn,
  type InterfaceSpec,
  interface_spec_default,
  limits,
  ringFaults,
} from './interface-spec.js';
import { BadValue, type Fault } from './problem.js';
import type { Parse } from './values.js';
import type { variables } from './variables.js';

/** Runs a parser on a text inside a document; a fault is noted under `path`. */
export function inside<T>(parse: Parse<T>, text: string, fallback: T, path: string, faults: Fault[]): T {
  if (text === '') return fallback;
  try {
    return parse(text, () => {});
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    faults.push(...error.faults.map((fault) => ({ ...fault, path })));
    return fallback;
  }
}

const redirect_protocols: readonly string[] = [
  'tcp',
  'udp',
  'sctp',
  'icmp',
  'icmp6',
] satisfies RedirectToHostRule['protocol'][];

type InitialConfig = (typeof variables.initial_config)['fallback'];

export function redirectRules(document: InitialConfig, faults: Fault[]): RedirectToHostRule[] {
  return document.redirectToHostRules.map(({ proto, port, ip }, i) => {
    const protocol = proto.toLowerCase();
    const path = `redirectToHostRules[${i}]`;
    if (!redirect_protocols.includes(protocol)) {
      faults.push({
        path: `${path}.proto`,
        cause: `${JSON.stringify(proto)} is not a protocol that can be redirected`,
        step: `use one of ${redirect_protocols.join(', ')}`,
      });
    } else if ((protocol === 'icmp' && isIP(ip) === 6) || (protocol === 'icmp6' && isIP(ip) === 4)) {
      faults.push({
        path,
        cause: `${protocol} does not go with ${ip}`,
        step: 'use icmp with IPv4 and icmp6 with IPv6',
      });
    }
    return { protocol: protocol as RedirectToHostRule['protocol'], port, ip };
  });
}

type Interfaces = (typeof variables.interfaces)['fallback'];

/** A default that nobody asked for bows to the limits; one that is written down must keep them. */
export function podSpecs(document: Interfaces, faults: Fault[], warn: (text: string) => void) {
  const most = limits(document.maxPodIfSpec ?? {});
  const base: InterfaceSpec = { ...capped(interface_spec_default, most), is_l3: true };
  const spec = fillIn(document.defaultPodIfSpec ?? {}, base, (text) => warn(`defaultPodIfSpec.${text}`));
  faults.push(...ringFaults(spec, 'defaultPodIfSpec.'));
  for (const { key, asked, max } of excess(spec, most)) {
    faults.push({
      path: `defaultPodIfSpec.${key}`,
      cause: `${asked} is more than the ${max} of maxPodIfSpec`,
      step: `lower it to ${max}, or raise maxPodIfSpec.${key}`,
    });
  }
  return { spec, limits: most };
}

export function hostTap(document: Interfaces, faults: Fault[], warn: (text: string) => void): InterfaceSpec {
  const spec = fillIn(document.vppHostTapSpec, interface_spec_default, (text) =>
    warn(`vppHostTapSpec.${text}`),
  );
  faults.push(...ringFaults(spec, 'vppHostTapSpec.'));
  if (document.vppHostTapSpec.isl3)
    warn('vppHostTapSpec.isl3 has no effect: the host tap stands in for an Ethernet device');
  const { is_l3: _, ...tap } = spec;
  return tap;
}
