/**
 * What a host's network is, as lines that can be compared: a script that reads it in the machine, and what its output means.
 * What differs by itself (counters, what is left of a lifetime, numbers of links) is left out.
 */

/** Lines by what they tell of. In each, their order means nothing. */
export type Look = Readonly<Record<Section, readonly string[]>>;

export const sections = [
  'links',
  'devices',
  'addresses',
  'lifetimes',
  'routes',
  'rules',
  'neighbours',
  'nexthops',
  'resolver',
  'connections',
  'managed',
  'sysctls',
  'pci',
] as const;

export type Section = (typeof sections)[number];

/** While VPP has the uplink, a tap has its place: another kind of device, which has no lifetimes of leases and sysctls of its own. */
export const while_running: readonly Section[] = [
  'links',
  'addresses',
  'routes',
  'rules',
  'nexthops',
  'resolver',
];

export const look_script = `
part() { echo "=== $1"; shift; "$@" 2>/dev/null || true; }
bindings() {
  for device in /sys/bus/pci/devices/*; do
    driver=$(readlink "$device/driver")
    echo "\${device##*/} driver \${driver##*/} override $(cat "$device/driver_override") net $(ls "$device"/net "$device"/virtio*/net | xargs)"
  done
}
part pci bindings
part vfio grep -sH '' /sys/module/vfio/parameters/enable_unsafe_noiommu_mode
part addr ip -d -j address
part route4 ip -d -j -4 route show table all
part route6 ip -d -j -6 route show table all
part rule4 ip -d -j -4 rule
part rule6 ip -d -j -6 rule
part neigh ip -d -j neigh show nud permanent
part proxy ip -d -j neigh show proxy
part nexthop ip -d -j nexthop
part dns resolvectl --no-pager dns
part domain resolvectl --no-pager domain
if systemctl -q is-active NetworkManager; then
  part connections nmcli -t -f UUID,NAME,DEVICE,STATE connection show --active
  part nm nmcli -t -f DEVICE,STATE,CONNECTION device
fi
if systemctl -q is-active systemd-networkd; then part networkd networkctl --no-legend --no-pager list; fi
part sysctl grep -rsH '' /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/neigh /proc/sys/net/ipv6/neigh /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/core_pattern
`;

type Item = Readonly<Record<string, unknown>>;

/** What the script wrote, as lines. Throws when it is not what the tools write. */
export function readLook(output: string): Look {
  const parts = new Map(
    output
      .split(/^=== /m)
      .slice(1)
      .map((part): [string, string] => {
        const end = part.indexOf('\n');
        return [part.slice(0, end), part.slice(end + 1)];
      }),
  );
  const json = (name: string): Item[] => JSON.parse(parts.get(name)?.trim() || '[]');
  const lines = (name: string): string[] => (parts.get(name) ?? '').split('\n').filter(Boolean);
  const links = json('addr');
  return {
    links: links.map((link) =>
      line(link, ['ifname', 'address', 'mtu', 'altnames', 'master', 'ifalias'], isUp(link)),
    ),
    devices: links.map((link) =>
      line(link, [
        'ifname',
        'link',
        'link_type',
        'linkinfo',
        'qdisc',
        'txqlen',
        'group',
        'permaddr',
        'inet6_addr_gen_mode',
        'flags',
      ]),
    ),
    addresses: links.flatMap((link) =>
      addressesOf(link).map((address) =>
        line(
          address,
          ['local', 'address', 'prefixlen', 'broadcast', 'scope', 'anycast'],
          String(link.ifname),
        ),
      ),
    ),
    lifetimes: links.flatMap((link) =>
      addressesOf(link).map((address) => `${link.ifname} ${address.local} ${lifetimeOf(address)}`),
    ),
    routes: [...json('route4'), ...json('route6')]
      .filter(isOfHost)
      .map((route) => line(withoutMtuOf(links, route), keysOf(route, route_noise))),
    rules: [...json('rule4'), ...json('rule6')].map((rule) => line(rule, keysOf(rule, []))),
    neighbours: [...json('neigh'), ...json('proxy')].map((item) =>
      line(item, keysOf(item, ['used', 'confirmed', 'updated', 'probes', 'refcnt'])),
    ),
    nexthops: json('nexthop').map((item) => line(item, keysOf(item, []))),
    resolver: ['dns', 'domain'].flatMap((name) =>
      lines(name)
        .map((text) => `${name} ${sortedWords(text.replace(/^Link \d+ /, 'Link '))}`)
        .filter((text) => !/:\s*$/.test(text)),
    ),
    connections: lines('connections').filter((text) => !text.includes(':lo:')),
    // What a slow boot makes of the loopback is nobody's work here.
    managed: [
      ...lines('nm'),
      ...lines('networkd')
        .map((text) => text.trim().split(/\s+/).slice(1).join(' '))
        .filter((text) => !text.startsWith('lo ')),
    ],
    sysctls: lines('sysctl').filter((text) => !sysctl_noise.test(text)),
    pci: [...lines('pci'), ...lines('vfio')],
  };
}

/** Connected routes whatever their metric. */
export function withoutConnectedMetrics(look: Look): Look {
  const routes = look.routes.map((text) =>
    / protocol kernel scope link /.test(text) ? text.replace(/ metric \d+/, '') : text,
  );
  return { ...look, routes };
}

/** `name: - line` for what was and is not, `name: + line` for what is new. Nothing: all is as it was. */
export function differences(before: Look, now: Look, compared: readonly Section[] = sections): string[] {
  return compared.flatMap((section) => [
    ...less(before[section], now[section]).map((text) => `${section}: - ${text}`),
    ...less(now[section], before[section]).map((text) => `${section}: + ${text}`),
  ]);
}

/** Each as often as it is there more often. */
function less(from: readonly string[], what: readonly string[]): string[] {
  const rest = [...what];
  return from.filter((text) => {
    const at = rest.indexOf(text);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}

const route_noise = ['flags', 'expires', 'users', 'age', 'used', 'cacheinfo', 'error'];
const sysctl_noise = /stable_secret|\/conf\/[^/]*\/mc_forwarding:/;

const isUp = (link: Item): string => ((link.flags as string[]).includes('UP') ? 'up' : 'down');

const addressesOf = (link: Item): Item[] => link.addr_info as Item[];

const forever_s = 2 ** 32 - 1;

function lifetimeOf(address: Item): string {
  if (address.valid_life_time === forever_s) return 'for ever';
  return address.preferred_life_time === 0 ? 'deprecated' : 'leased';
}

/** Protocol 77: routes on the tap that the node put there, for pods and services. */
const isOfHost = (route: Item): boolean => String(route.protocol) !== '77';

/** The MTU of the link itself, which an advertisement may name and another not. */
function withoutMtuOf(links: readonly Item[], route: Item): Item {
  const link = links.find(({ ifname }) => ifname === route.dev);
  const [metrics, ...more] = (route.metrics as Item[] | undefined) ?? [];
  if (metrics === undefined || more.length > 0 || metrics.mtu !== link?.mtu) return route;
  const { mtu: _, ...rest } = metrics;
  return { ...route, metrics: Object.keys(rest).length === 0 ? [] : [rest] };
}

/** Servers of one link are asked in any order. */
function sortedWords(text: string): string {
  const at = text.indexOf(':') + 1;
  return [text.slice(0, at), ...text.slice(at).split(/\s+/).filter(Boolean).sort()].join(' ');
}

const keysOf = (item: Item, noise: readonly string[]): string[] =>
  Object.keys(item)
    .filter((key) => !noise.includes(key))
    .sort();

function line(item: Item, keys: readonly string[], ...first: readonly string[]): string {
  const fields = keys.flatMap((key) => {
    const value = item[key];
    if (value === undefined || value === '' || (Array.isArray(value) && value.length === 0)) return [];
    return [`${key} ${typeof value === 'object' ? JSON.stringify(value) : value}`];
  });
  return [...first, ...fields].join(' ');
}
