/** What `ip -d -j` and /proc/sys say of a namespace, in a form in which two moments can be compared. */
import type { NetnsLab } from '../../lab/netns.js';

export type Json = null | string | number | boolean | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = { readonly [key: string]: Json };

/** What `ip` and /proc/sys say of a namespace. */
export interface Shown {
  readonly links: readonly JsonObject[];
  readonly routes4: readonly JsonObject[];
  readonly routes6: readonly JsonObject[];
  readonly rules: readonly JsonObject[];
  readonly neighbours: readonly JsonObject[];
  readonly nexthops: readonly JsonObject[];
  readonly sysctls: Readonly<Record<string, string>>;
}

/** A process for each option of `ip`, not for each question: hundreds of hosts are looked at. */
const questions = {
  '': ['addr', 'nexthop', 'neigh show nud permanent', 'neigh show nud noarp', 'neigh show proxy'],
  '-4': ['route show table all', 'rule'],
  '-6': ['route show table all', 'rule'],
} as const;
const sysctl_question =
  'grep -rsH . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/neigh /proc/sys/net/ipv6/neigh';

export function show(lab: NetnsLab, name: string, lost: readonly string[] = []): Shown {
  const asked = Object.entries(questions).map(
    ([option, lines]) => `printf '${lines.join('\\n')}\\n' | ip -d -j ${option} -force -batch -`,
  );
  const parts = lab
    .run(name, 'sh', '-c', [...asked, `${sysctl_question} || true`].join('; echo @@@; '))
    .split('@@@');
  const [all = [], of4 = [], of6 = []] = parts
    .slice(0, -1)
    .map((part) =>
      part.split('\n').flatMap((text) => (text.trim() === '' ? [] : (JSON.parse(text) as JsonObject[]))),
    );
  // Answers bear no names: a rule alone has a priority, a link an index of its own, a next hop an id.
  const isRule = (each: JsonObject): boolean => 'priority' in each;
  const isLink = (each: JsonObject): boolean => 'ifindex' in each;
  const isNextHop = (each: JsonObject): boolean => 'id' in each;
  const routes4 = of4.filter((each) => !isRule(each));
  const routes6 = of6.filter((each) => !isRule(each));
  const rules = [...of4, ...of6].filter(isRule);
  const links = all.filter(isLink);
  const nexthops = all.filter(isNextHop);
  const neighbours = all.filter((each) => !isLink(each) && !isNextHop(each));
  const sysctls = Object.fromEntries(
    parts
      .at(-1)!
      .split('\n')
      .flatMap((line) => {
        const [, path, value] = /^\/proc\/sys\/net\/([^:]+):(.*)$/.exec(line) ?? [];
        return path === undefined ? [] : [[path, value ?? '']];
      }),
  );
  return {
    links: links
      .map((link) => withoutIndex(link, lost))
      .sort((a, b) => (String(a.ifname) < String(b.ifname) ? -1 : 1)),
    // In the local table the order of equal routes means nothing.
    routes4: [
      ...routes4.filter(({ table }) => table !== 'local'),
      ...bySpelling(routes4.filter(({ table }) => table === 'local')),
    ],
    routes6: bySpelling(routes6.filter(({ dst, type }) => !(type === 'multicast' && dst === 'ff00::/8'))),
    rules,
    neighbours: bySpelling(neighbours.filter(({ dst }) => !/^(ff|2[23]\d\.)/.test(String(dst)))),
    nexthops: bySpelling(nexthops),
    sysctls,
  };
}

/** An index may change with a move; the state of duplicate detection passes, and so do timers. */
function withoutIndex(link: JsonObject, lost: readonly string[]): JsonObject {
  const passing = new Set(['ifindex', 'link_index', 'link_netnsid', 'tentative', ...lost]);
  const keptOf = (value: Json): Json => {
    if (Array.isArray(value)) return (value as readonly Json[]).map(keptOf);
    if (!isObject(value)) return value;
    const kept = Object.entries(value).filter(([key]) => !passing.has(key) && !key.endsWith('timer'));
    return Object.fromEntries(kept.map(([key, inner]) => [key, keptOf(inner)]));
  };
  return keptOf(link) as JsonObject;
}

export function withoutRoutes(shown: Shown, prefixes: readonly string[]): Shown {
  const isKept = ({ dst, protocol }: JsonObject): boolean =>
    protocol === '77' || !prefixes.includes(String(dst));
  return { ...shown, routes4: shown.routes4.filter(isKept), routes6: shown.routes6.filter(isKept) };
}

function bySpelling(list: readonly JsonObject[]): JsonObject[] {
  return [...list].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

const lifetimes: ReadonlySet<string> = new Set(['valid_life_time', 'preferred_life_time', 'expires']);
const life_tolerance_s = 120;

/** What differs, a line each; a lifetime may have run meanwhile. */
export function differences(before: Json, after: Json, path = ''): string[] {
  if (before === after) return [];
  if (Array.isArray(before) && Array.isArray(after)) {
    if (before.length !== after.length)
      return [`${path}: ${before.length} became ${after.length}: ${unlike(before, after)}`];
    return before.flatMap((each, at) => differences(each, after[at]!, `${path}[${at}]`));
  }
  if (isObject(before) && isObject(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys].flatMap((key) => {
      const [a, b] = [before[key] ?? null, after[key] ?? null];
      const running = lifetimes.has(key) && typeof a === 'number' && typeof b === 'number';
      if (running && Math.abs(a - b) <= life_tolerance_s) return [];
      return differences(a, b, `${path}.${key}`);
    });
  }
  return [`${path}: ${JSON.stringify(before)} became ${JSON.stringify(after)}`];
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unlike(before: readonly Json[], after: readonly Json[]): string {
  const texts = (list: readonly Json[]): string[] => list.map((each) => JSON.stringify(each));
  const [a, b] = [texts(before), texts(after)];
  const gone = a.filter((text) => !b.includes(text)).map((text) => `- ${text}`);
  const come = b.filter((text) => !a.includes(text)).map((text) => `+ ${text}`);
  return [...gone, ...come].slice(0, 8).join(' ');
}

const isGateway = /^(fe80::[129]|2001:db8:(:1|7::9)|fe80::ca:.*)$/;

/** The tap differs from the uplink in what it is, and carries what is ours. */
export function asTheUplink(names: ReadonlySet<string>): (shown: Shown) => Shown {
  const isTap = (name: Json | undefined): boolean => names.has(String(name));
  return ({ links, routes4, routes6, neighbours, nexthops, rules, sysctls }) => ({
    links: links.map((link) => {
      // What lies below a macvlan is promiscuous with it.
      if (!isTap(link.ifname)) return { ...link, promiscuity: 0 };
      const { ifname, mtu, address, group, ifalias, txqlen, altnames, addr_info } = link;
      const addresses = (addr_info as readonly JsonObject[]).map(
        ({ nodad: _, valid_life_time: __, dynamic: ___, preferred_life_time, temporary: ____, ...rest }) => ({
          ...rest,
          deprecated: rest.deprecated ?? preferred_life_time === 0,
        }),
      );
      return {
        ifname: ifname!,
        mtu: mtu!,
        address: address!,
        group: group!,
        ifalias: ifalias ?? null,
        txqlen: txqlen!,
        altnames: altnames ?? null,
        addr_info: addresses,
      };
    }),
    routes4: routes4.filter(isHosts).map(aliveRoute),
    routes6: bySpelling(routes6.filter(isHosts).map(aliveRoute)),
    rules,
    neighbours: bySpelling(
      neighbours.flatMap(({ lladdr, ...neighbour }) => {
        const is_ours = String(lladdr).startsWith('02:ca:11:c0:fd') && isGateway.test(String(neighbour.dst));
        return is_ours ? [] : [isTap(neighbour.dev) ? neighbour : { ...neighbour, lladdr: lladdr ?? null }];
      }),
    ),
    nexthops: nexthops.map(aliveRoute),
    sysctls: Object.fromEntries(
      Object.entries(sysctls).filter(
        ([path]) =>
          !(isTap(path.split('/')[2]) && /\/(stable_secret|mc_forwarding|addr_gen_mode)$/.test(path)),
      ),
    ),
  });
}

const isHosts = ({ protocol }: JsonObject): boolean => protocol !== '77';

/** The tap has no carrier before VPP says so; nobody renews what expires. */
function aliveRoute({ flags, nexthops, expires: _, ...route }: JsonObject): JsonObject {
  const kept = ((flags ?? []) as readonly string[]).filter((flag) => flag !== 'linkdown' && flag !== 'dead');
  return {
    ...route,
    flags: kept,
    ...(Array.isArray(nexthops) && { nexthops: (nexthops as readonly JsonObject[]).map(aliveRoute) }),
  };
}
