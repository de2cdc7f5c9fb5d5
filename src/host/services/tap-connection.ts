/**
 * A connection of NetworkManager for the tap. It has no connection of another type that it could use there: a profile for Ethernet refuses
 * a tap, and without one it takes the tap for somebody else's and renews no lease (seen with 1.42). Pure.
 */
import { createHash } from 'node:crypto';
import { iniSections, iniText, keyOf } from './ini.js';

export interface TapConnection {
  readonly uuid: string;
  /** A keyfile, see nm-settings-keyfile(5). */
  readonly text: string;
}

/** What NetworkManager gives routes where the profile names no metric, by type; a tap would get 450. */
const metrics: Readonly<Record<string, number>> = { bond: 300, team: 350, vlan: 400, bridge: 425 };
const metric_of_ethernet = 100;

/** Of the connection itself these name the device and its kind; the tap has its own. */
const of_device = [
  'id',
  'uuid',
  'type',
  'interface-name',
  'autoconnect',
  'autoconnect-priority',
  'autoconnect-retries',
  'permissions',
  'timestamp',
  'multi-connect',
];

/** The only methods by which NetworkManager hears of name servers. It takes no profile that names some where IPv6 is off. */
const hearing_methods = ['auto', 'dhcp'];

/**
 * The connection that was active on the uplink, for the tap of the same name. `servers`: the name servers that the uplink has. Those of IPv6 that a
 * router has named it does not hear on the tap, and so they are configured. Undefined: it cannot be told from the text (not a keyfile), or the
 * uplink is a port of another device.
 */
export function tapConnection(
  keyfile: string,
  name: string,
  servers: readonly string[] = [],
): TapConnection | undefined {
  const sections = iniSections(keyfile);
  const lines = (section: string): readonly string[] =>
    sections.filter((each) => each.name === section).flatMap((each) => each.lines);
  const connection = lines('connection');
  const value = (key: string): string | undefined => {
    const line = connection.findLast((line) => keyOf(line) === key);
    return line?.slice(line.indexOf('=') + 1).trim();
  };
  const [uuid, type] = [value('uuid'), value('type')];
  if (uuid === undefined || type === undefined) return undefined;
  if ((value('master') ?? value('controller')) !== undefined) return undefined;

  const tap_uuid = uuidFrom(`${uuid} ${name}`);
  const withMetric = (family: readonly string[]): string[] => [
    ...family,
    ...(family.some((line) => keyOf(line) === 'route-metric')
      ? []
      : [`route-metric=${metrics[type] ?? metric_of_ethernet}`]),
  ];
  const text = iniText([
    {
      name: 'connection',
      lines: [
        `id=calico-vpp-${name}`,
        `uuid=${tap_uuid}`,
        'type=tun',
        `interface-name=${name}`,
        'autoconnect=false',
        ...connection.filter((line) => !of_device.includes(keyOf(line))),
      ],
    },
    // As VPP makes it; NetworkManager compares.
    { name: 'tun', lines: ['mode=2', 'vnet-hdr=true'] },
    { name: 'ipv4', lines: withMetric(lines('ipv4')) },
    { name: 'ipv6', lines: withServers(withMetric(lines('ipv6')), servers) },
    ...(lines('proxy').length > 0 ? [{ name: 'proxy', lines: lines('proxy') }] : []),
  ]);
  return { uuid: tap_uuid, text };
}

/** Those that are configured already come first. A scope is that of the uplink, and not of the tap. */
function withServers(ipv6: readonly string[], servers: readonly string[]): string[] {
  const value = (key: string): string => {
    const line = ipv6.findLast((line) => keyOf(line) === key) ?? '';
    return line.slice(line.indexOf('=') + 1).trim();
  };
  if (!hearing_methods.includes(value('method'))) return [...ipv6];
  const configured = value('dns')
    .split(/[;,\s]+/)
    .filter(Boolean);
  const heard = servers
    .filter((server) => server.includes(':'))
    .map((server) => server.split('%')[0]!)
    .filter((server) => !configured.includes(server));
  if (heard.length === 0) return [...ipv6];
  const all = [...configured, ...heard].map((server) => `${server};`).join('');
  return [...ipv6.filter((line) => keyOf(line) !== 'dns'), `dns=${all}`];
}

/** The same for the same text: version 8 of RFC 9562. */
function uuidFrom(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}
