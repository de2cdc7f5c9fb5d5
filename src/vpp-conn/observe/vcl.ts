/** Pods' application namespaces, back from VPP. */
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { dangling_prefix, type InterfaceTag } from '../../objects/interfaces.js';
import { type ApplicationNamespace, sessionSocketPlace } from '../../objects/vcl.js';
import { appNamespaceNumber } from '../app-namespace-ids.js';
import type { Handles } from '../handles.js';
import type { Reader } from './reader.js';

/** VPP has no dump of them. `tagOf`: of an interface by VPP's name of it. */
export async function observeAppNamespaces(
  reader: Reader,
  handles: Handles,
  tagOf: (name: string) => InterfaceTag | undefined,
): Promise<readonly (readonly [ApplicationNamespace, number])[]> {
  const text = (await reader.ask(cli_inband, { cmd: 'show app ns' }))?.reply ?? '';
  return appNamespacesIn(text).flatMap((shown) => {
    const netns = sessionSocketPlace(shown.socket);
    const number = appNamespaceNumber(shown.id);
    if (netns === undefined || number === undefined) return [];
    if (shown.interface === half_made) {
      handles.app_namespaces.failed(shown.id);
      return [];
    }
    const tag = tagOf(shown.interface) ?? `${dangling_prefix}${shown.interface}`;
    return [[{ kind: 'app_namespace', interface: tag, netns }, number]] as const;
  });
}

/** What VPP shows for one whose socket could not be made: it is not reached that its interface is set. */
const half_made = 'local0';

// biome-ignore lint/suspicious/noControlCharactersInRegex: they begin with one.
const colour = /\x1b\[\d*m/g;

export interface ShownAppNamespace {
  readonly interface: string;
  readonly id: string;
  readonly socket: string;
}

/**
 * Rows in the text of `show app ns`, which has the colours of a terminal.
 *
 *     Index   Secret  Interface             Id                       Socket
 *     0       0       DELETED (4294967295)  default                  /run/vpp/app_ns_sockets/default
 *     1       0       loop1                 vcl-Gk3u8hQz-eth0-p1-1   abstract:vpp/session,netns_name=/run/netns/p1
 */
export function appNamespacesIn(text: string): readonly ShownAppNamespace[] {
  return text.split('\n').flatMap((line) => {
    const row = /^\s*\d+\s+\d+\s+(\S.*?)\s+(\S+)\s+(abstract:\S+)\s*$/.exec(line.replaceAll(colour, ''));
    return row === null ? [] : [{ interface: row[1]!, id: row[2]!, socket: row[3]! }];
  });
}
