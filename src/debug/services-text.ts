import type { ShownService, ShownServices, ShownVip } from '../messages/services.js';
import { table } from './table.js';

const clean = (text: string): string => text.replace(/\p{Cc}+/gu, ' ');

/** `refused`, of `refused: why`. */
const stateWord = ({ state }: ShownVip): string => state.split(':', 1)[0]!;

/** `programmed` where all are, else how many of each: `2 programmed, 1 lost`. */
function statesText({ vips, plan }: ShownService): string {
  if (plan === undefined) return 'there is none';
  if (vips.length === 0) return 'has no address';
  const counts = new Map<string, number>();
  for (const vip of vips) counts.set(stateWord(vip), (counts.get(stateWord(vip)) ?? 0) + 1);
  if (counts.size === 1) return stateWord(vips[0]!);
  return [...counts].map(([word, count]) => `${count} ${word}`).join(', ');
}

const faultsOf = ({ plan, conflicts = [] }: ShownService): readonly string[] =>
  [...(plan?.faults ?? []), ...conflicts].map(clean);

/** The first reason that somebody may act upon: a fault of its objects, else why an address is not served. */
function reasonText(service: ShownService): string {
  const [fault, ...more] = faultsOf(service);
  if (fault !== undefined) return more.length === 0 ? fault : `${fault} (and ${more.length} more)`;
  const vip = service.vips.find(({ state }) => state.includes(': '));
  return vip === undefined ? '' : clean(vip.state.slice(vip.state.indexOf(': ') + 2));
}

/** Of the address and port that has most. */
const backendsText = ({ plan }: ShownService): string =>
  `${Math.max(0, ...(plan?.vips ?? []).map(({ backends }) => backends))}`;

const addressesText = ({ plan }: ShownService): string =>
  `${(plan?.vips.length ?? 0) + (plan?.vips_unshown ?? 0)}`;

const listText = (texts: readonly string[] | undefined): string => texts?.join(', ') ?? '-';

/** One service: a line for each address and port, and one for each fault. */
function oneText(name: string, service: ShownService): readonly string[] {
  const { plan, vips } = service;
  if (plan === undefined)
    return [`${clean(name)}: there is no such service, or it has no address of its own`];
  const kinds = new Map(plan.vips.map(({ vip, kind }) => [`translation:${vip}`, kind]));
  const is_dumped = vips.some(({ dumped }) => dumped !== undefined);
  const rows = vips.map((vip) => [
    vip.key.slice(vip.key.indexOf(':') + 1),
    kinds.get(vip.key) ?? '',
    listText(vip.desired),
    ...(is_dumped ? [listText(vip.dumped)] : []),
    clean(vip.state),
  ]);
  const head = ['ADDRESS', 'KIND', 'BACK ENDS', ...(is_dumped ? ['OF VPP'] : []), 'STATE'];
  return [
    ...table([head, ...rows]),
    ...(plan.vips_unshown > 0 ? [`and ${plan.vips_unshown} more`] : []),
    ...faultsOf(service).map((fault) => `fault: ${fault}`),
  ];
}

/** Nothing waits, is refused or wrong. That nobody serves an address is no fault of the node's. */
export function isWell({ services, strays = [], objects = {} }: ShownServices): boolean {
  const is_good = (service: ShownService): boolean =>
    service.plan !== undefined &&
    faultsOf(service).length === 0 &&
    service.vips.every((vip) => ['programmed', 'unserved'].includes(stateWord(vip)));
  return strays.length === 0 && Object.keys(objects).length === 0 && Object.values(services).every(is_good);
}

/** What /debug/services says, a line for each service; `name`: of that one alone, a line for each address and port. */
export function servicesText(shown: ShownServices, name?: string): string {
  const { services, service_count, strays = [], objects = {} } = shown;
  const all = Object.entries(services);
  const rows = all.map(([key, service]) => [
    clean(key),
    statesText(service),
    addressesText(service),
    backendsText(service),
    reasonText(service),
  ]);
  const lines =
    name === undefined
      ? table([['SERVICE', 'STATE', 'ADDRESSES', 'BACK ENDS', 'REASON'], ...rows])
      : all.flatMap(([key, service]) => oneText(key, service));
  const unshown = name === undefined ? service_count - all.length : 0;
  return [
    ...lines,
    ...(unshown > 0 ? [`and ${unshown} more; one of them is shown by its name`] : []),
    ...Object.entries(objects).map(([object, faults]) => clean(`${object}: ${faults.join('; ')}`)),
    ...strays.map((key) => `${clean(key)}: VPP has it, and no service wants it`),
    '',
  ].join('\n');
}
