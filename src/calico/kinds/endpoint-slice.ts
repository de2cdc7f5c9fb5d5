import { isDeepStrictEqual } from 'node:util';
import { type Family, familyOf } from '../../ip/text.js';
import { SharedTexts } from '../../shared-texts.js';
import type { Fields } from '../fields.js';
import { type Kind, pickFields, present, time_ms } from './kind.js';
import { protocolOf, servedAddress, type TransportProtocol } from './service.js';

/** An endpoint that new flows may go to. One that serves nobody any more, or not yet, is none. */
export interface Endpoint {
  readonly address: string;
  readonly node?: string;
  /** It ends: it is used where there is no other. */
  readonly draining?: true;
  /** Zones and nodes that are to use it, where somebody has said so. */
  readonly for_zones?: readonly string[];
  readonly for_nodes?: readonly string[];
}

export interface EndpointPort {
  readonly name: string;
  readonly protocol: TransportProtocol;
  readonly port: number;
}

/** A part of the endpoints of one service, of one family. */
export interface EndpointSlice {
  /** `namespace/name` of the service. */
  readonly service: string;
  readonly family: Family;
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly EndpointPort[];
  /** When that changed which this version is the answer to: a pod became ready, or the service was changed. Milliseconds since 1970. */
  readonly changed_ms?: number;
}

/** Names of nodes, of which there are fewer than endpoints. */
const nodes = new SharedTexts();

function hinted(entry: Fields, field: string): readonly string[] | undefined {
  const names = entry.object('hints').list(field, (each) => each.text('name'));
  return names.length === 0 ? undefined : names;
}

function endpoint(entry: Fields, family: Family): Endpoint | undefined {
  const conditions = entry.object('conditions');
  // Conditions that are absent say what they do of an endpoint that is well.
  const ready = conditions.flag('ready') ?? true;
  const draining = (conditions.flag('serving') ?? ready) && (conditions.flag('terminating') ?? false);
  if (!ready && !draining) return undefined;
  // Several addresses of one endpoint are the same to a client: the first is enough, as it is to kube-proxy.
  const [address] = entry.plain(
    'addresses',
    `an IPv${family} address that packets can be sent to`,
    (value) => {
      const served = servedAddress(value);
      return served !== undefined && familyOf(served) === family ? served : undefined;
    },
  );
  if (address === undefined) return undefined;
  const node = entry.text('nodeName');
  return present<Endpoint>({
    address,
    node: node && nodes.of(node),
    draining: ready ? undefined : true,
    for_zones: hinted(entry, 'forZones'),
    for_nodes: hinted(entry, 'forNodes'),
  });
}

function port(entry: Fields): EndpointPort | undefined {
  const protocol = protocolOf(entry);
  const number = entry.whole('port', 1, 65_535);
  // Without a number it stands for all ports, which no service of ours has.
  if (protocol === undefined || number === undefined) return undefined;
  return { name: entry.text('name') ?? '', protocol, port: number };
}

/** Keys are `namespace/name` of the slice. */
export const endpoint_slice_kind: Kind<EndpointSlice> = {
  name: 'EndpointSlice',
  plural: 'endpointslices',
  versions: ['discovery.k8s.io/v1'],
  absence: 'wait',
  label_selector: '!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless',
  page: 100,
  objects_max: 200_000,
  // Why it was written again is nothing to act upon.
  same: (a, b) => isDeepStrictEqual({ ...a, changed_ms: 0 }, { ...b, changed_ms: 0 }),
  pick: (_name, object) =>
    pickFields(object, (fields, faults) => {
      const type = fields.word('addressType', ['IPv4', 'IPv6', 'FQDN']);
      const metadata = fields.object('metadata');
      const name = metadata.object('labels').text('kubernetes.io/service-name');
      // Of names, and of nobody's endpoints, nothing is made.
      if (type === 'FQDN' || name === undefined) return undefined;
      if (type === undefined)
        return faults.concern('addressType') ? undefined : fields.fault('addressType', 'is missing');
      const family = type === 'IPv4' ? 4 : 6;
      return present<EndpointSlice>({
        service: `${metadata.text('namespace') ?? ''}/${name}`,
        family,
        endpoints: fields.list('endpoints', (entry) => endpoint(entry, family)),
        ports: fields.list('ports', port),
        changed_ms: metadata
          .object('annotations')
          .read('endpoints.kubernetes.io/last-change-trigger-time', 'a time', time_ms),
      });
    }),
};
