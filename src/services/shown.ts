/** What people are shown of services: wanted, programmed, dumped. */
import type { ServicePlan, ServiceStatus } from '../desired/services/plan.js';
import type { ServicesQuestion, ShownService, ShownServices, ShownVip } from '../messages/services.js';
import type { Translation } from '../objects/cnat.js';
import type { ObjectKey, VppObject } from '../objects/object.js';
import type { TranslationOwners } from '../reconcile/translation-owners.js';
import type { ServiceWriter } from './service-writer.js';

const shown_max = 1000;
const strays_max = 100;

export interface Showing {
  readonly plan: ServicePlan;
  readonly writer: ServiceWriter;
  readonly translations: TranslationOwners;
}

type Dumped = ReadonlyMap<ObjectKey, Translation> | undefined;

/** Rejects where VPP is to be asked and does not answer. */
export async function shownServices(
  { service, dump }: ServicesQuestion,
  { plan, writer, translations }: Showing,
): Promise<ShownServices> {
  const dumped: Dumped = dump ? await writer.dump() : undefined;
  const names = service === undefined ? someNames(plan) : [service];
  const conflicts = writer.conflicts();
  const shown = (name: string): ShownService => {
    const status = plan.status(name);
    const of_it = conflicts.get(name) ?? [];
    return {
      vips: (status?.vips ?? []).map((vip) => shownVip(vip, writer, dumped)),
      ...(of_it.length > 0 && { conflicts: of_it }),
      ...(status !== undefined && { plan: status }),
    };
  };
  const strays = [...(dumped?.keys() ?? [])].filter(
    (key) => plan.holderOf(vipOf(key)) === undefined && translations.of(key)?.by !== 'pods',
  );
  return {
    services: Object.fromEntries(names.map((name) => [name, shown(name)])),
    service_count: plan.counts.services,
    ...(dump && { strays: strays.slice(0, strays_max) }),
  };
}

function someNames(plan: ServicePlan): readonly string[] {
  const names: string[] = [];
  for (const name of plan.names()) {
    names.push(name);
    if (names.length === shown_max) break;
  }
  return names;
}

function shownVip(
  { vip, outcome, holder }: ServiceStatus['vips'][number],
  writer: ServiceWriter,
  dumped: Dumped,
): ShownVip {
  const key: ObjectKey = `${kind_prefix}${vip}`;
  // What VPP has of it is the other's.
  if (outcome === 'lost') return { key, state: `lost: Service ${holder} has it` };
  const { state, wanted, there } = writer.stateOf(key);
  const shown = dumped?.get(key);
  const is_settled = outcome === 'refused' ? there === undefined : state === 'programmed';
  return {
    key,
    state: (is_settled && unserved[outcome]) || state,
    ...(wanted !== undefined && { desired: backendTexts(wanted) }),
    ...(there !== undefined && { programmed: backendTexts(there) }),
    ...(shown !== undefined && { dumped: backendTexts(shown) }),
  };
}

/** What becomes of packets to an address and port that has nobody. */
const unserved = {
  served: undefined,
  dropped: 'unserved: no endpoint is to be used from here, packets are dropped',
  refused: 'unserved: it has no endpoint, connections are refused',
} as const;

/** Of a service with thousands of back ends so many are shown. */
const backends_shown_max = 50;

function backendTexts(object: VppObject): readonly string[] {
  if (object.kind === 'route') return object.paths.map(({ via }) => via);
  if (object.kind !== 'translation') return [];
  const { backends } = object;
  const shown = backends.slice(0, backends_shown_max).map(({ address, port }) => `${address} ${port}`);
  const more = backends.length - shown.length;
  return more > 0 ? [...shown, `and ${more} more`] : shown;
}

const kind_prefix = 'translation:';

/** As the plan names it. */
export const vipOf = (key: ObjectKey): string =>
  key.startsWith(kind_prefix) ? key.slice(kind_prefix.length) : key;

export function keysOf(status: ServiceStatus | undefined): readonly ObjectKey[] {
  return (status?.vips ?? []).map(({ vip }) => `${kind_prefix}${vip}`);
}
