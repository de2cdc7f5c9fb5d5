/** What metrics are made of and the tree does not show: asked of the actors, each with its time, and of what they report. */
import type { ActorSystem } from '../actor-system.js';
import type { SyncReports } from '../debug/sync-reports.js';
import type { CniCounts } from '../metrics/cni-counts.js';
import { type Figures, isStatic } from '../metrics/figures.js';

/** An actor that is busy for longer is left out of this scrape. */
const describe_ms = 200;

/** As the actors describe themselves; each part may be missing. */
interface Descriptions {
  readonly connection:
    | { readonly api?: Figures['api'] & object; readonly quarantined: readonly unknown[] }
    | undefined;
  readonly process: { readonly deaths: Figures['deaths'] & object } | undefined;
  readonly services: ServicesDescription | undefined;
}

interface ServicesDescription {
  readonly event_to_vpp_seconds: NonNullable<Figures['services']>['event_to_vpp'];
  readonly kubeproxy_network_programming_duration_seconds: NonNullable<
    Figures['services']
  >['network_programming'];
}

/** The connections among what the session counts. */
const connections = ['prompt', 'bulk', 'probe'] as const;

export async function figuresOf(
  system: Pick<ActorSystem, 'root' | 'describe' | 'handleTimes'>,
  sync: SyncReports,
  cni: CniCounts,
): Promise<Figures> {
  const described = <K extends keyof Descriptions>(path: string): Promise<Descriptions[K]> =>
    system.describe(`${system.root.path}/${path}`, describe_ms).then(
      (description) => description as Descriptions[K],
      () => undefined,
    );
  const [connection, process, services] = await Promise.all([
    described<'connection'>('vpp/vpp-connection'),
    described<'process'>('vpp/vpp-process'),
    described<'services'>('services'),
  ]);
  const { bgp, cluster } = sync.all() as {
    readonly bgp?: { readonly peers?: Figures['bgp_peers'] };
    readonly cluster?: Figures['kinds'];
  };
  const api = connection?.api;
  return {
    handle: system.handleTimes(isStatic),
    cni: cni.figures(),
    ...(connection !== undefined && { quarantined: connection.quarantined.length }),
    ...(process !== undefined && { deaths: process.deaths }),
    ...(api !== undefined && {
      api: Object.fromEntries(connections.flatMap((name) => (api[name] ? [[name, api[name]]] : []))),
    }),
    ...(services !== undefined && {
      services: {
        event_to_vpp: services.event_to_vpp_seconds,
        network_programming: services.kubeproxy_network_programming_duration_seconds,
      },
    }),
    ...(bgp?.peers !== undefined && { bgp_peers: bgp.peers }),
    ...(cluster !== undefined && { kinds: cluster }),
  };
}
