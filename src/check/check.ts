/**
 * `calico-vpp-node check`: what would go wrong on this host, told before anything is touched. Pure: facts in, findings out.
 */
import { afPacketRingBytes, type Config, type Problem } from '../config.js';
import { linkStateOf } from '../host/undo/capture.js';
import type { DoorTrial } from '../policies/door-trial.js';
import { openDoors } from '../policies/doors.js';
import { withoutLeftovers } from '../uplink/leftovers.js';
import { vclObstacle } from '../vpp-conn/vcl-obstacle.js';
import type { CheckFacts } from './check-facts.js';
import { goFindings } from './check-migration.js';
import {
  collisionFindings,
  missingLink,
  overlapFindings,
  type UplinkView,
  uplink_checks,
} from './check-uplink.js';
import { error, type Finding, ok, warning } from './finding.js';

export { type CheckFacts, gatherCheckFacts } from './check-facts.js';
export type { Finding } from './finding.js';

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

type MachineCheck = (facts: CheckFacts, config: Config) => readonly Finding[];

const machine_checks: readonly MachineCheck[] = [
  ({ is_root }) =>
    is_root
      ? []
      : [
          error(
            'process',
            'does not run as root',
            'it moves network devices and enters namespaces',
            'run it as root, privileged',
          ),
        ],

  ({ vpp_binary }, { vpp }) =>
    vpp_binary === 'ok'
      ? [ok(vpp.binary, 'is there')]
      : [
          error(
            vpp.binary,
            vpp_binary === 'missing' ? 'is not there' : 'is not executable',
            'VPP is started from it',
            'use the image of this product, or set CALICOVPP_VPP_BINARY',
          ),
        ],

  ({ gobgpd }, { route_source, bgp }) => {
    if (route_source !== 'bgp') return [];
    if (gobgpd === 'ok') return [ok(bgp.binary, 'is there')];
    return [
      error(
        bgp.binary,
        gobgpd === 'missing' ? 'is not there' : 'is not executable',
        'CALICOVPP_ROUTE_SOURCE is bgp, and it is the BGP speaker: no pod of another node would be reached',
        'use the image of this product, install gobgpd 3.10 or later and name it in CALICOVPP_GOBGPD_BINARY, or set CALICOVPP_ROUTE_SOURCE to ipam',
      ),
    ];
  },

  ({ devices }) =>
    devices.tun
      ? [ok('/dev/net/tun', 'is there')]
      : [
          error(
            '/dev/net/tun',
            'is not there',
            'VPP makes the taps of the host and of pods with it',
            'run "modprobe tun" on the host',
          ),
        ],

  ({ devices }, { vpp }) => {
    if (devices.vhost_net) return [ok('/dev/vhost-net', 'is there')];
    const why = "VPP's tap driver moves its packets through it";
    if (vpp.environment.LD_PRELOAD) {
      return [
        warning(
          '/dev/vhost-net',
          'is not there',
          why,
          'nothing, if the library in LD_PRELOAD of CALICOVPP_VPP_ENVIRONMENT replaces it',
        ),
      ];
    }
    return [
      error(
        '/dev/vhost-net',
        'is not there',
        why,
        'run "modprobe vhost_net" on the host; its kernel needs CONFIG_VHOST_NET',
      ),
    ];
  },

  ({ has_nft }, { gates, kubernetes }) => {
    if (has_nft || !gates.services || !kubernetes) return [];
    return [
      warning(
        'nft',
        'is neither in the image nor on the host',
        'processes of the host reach neither a service whose back end is on the host itself (on a control-plane node its own API server by its service), nor node ports of their own node',
        'install nftables, or use the image of this product',
      ),
    ];
  },

  ({ machine: { cpu_lacks } }) =>
    cpu_lacks.length === 0
      ? []
      : [
          error(
            'processor',
            `has no ${cpu_lacks.join(', ')}`,
            'VPP is built for x86-64-v2, and would die of the first instruction that is not there (SIGILL); what is newer (AVX) it uses where it is',
            'have the hypervisor give the virtual machine its own processor (-cpu host), or x86-64-v2-AES',
          ),
        ],

  ({ hugepages }) => {
    const total_bytes = hugepages.reduce((sum, { size_bytes, total }) => sum + size_bytes * total, 0);
    return [
      ok(
        'hugepages',
        total_bytes === 0
          ? 'there are none: buffers use pages of 4 KiB'
          : `there are ${mebibytes(total_bytes)}`,
      ),
    ];
  },

  ({ memory_available_bytes }, { uplinks }) => {
    const rings = uplinks.filter(({ driver }) => driver === undefined || driver === 'af_packet');
    const wanted = rings.reduce((sum, uplink) => sum + afPacketRingBytes(uplink), 0);
    const what = `${mebibytes(memory_available_bytes)} are free, the packet rings of af_packet pin ${mebibytes(wanted)}`;
    if (wanted * 2 <= memory_available_bytes) return [ok('memory', what)];
    const tell = wanted > memory_available_bytes ? error : warning;
    return [
      tell(
        'memory',
        what,
        'the kernel takes them at once, and pods need the rest',
        'lower rx, tx, rxqsz or txqsz of the uplinks',
      ),
    ];
  },

  (_, { gates }) =>
    gates.memif
      ? [
          warning(
            'memifEnabled',
            'a pod with a memif can write the memory of VPP, which is root, and end it',
            'VPP believes what the program at the other end says of their shared memory',
            'see that only those write the annotation vppExtraMemifPorts who may be root on the node; or set memifEnabled to false',
          ),
        ]
      : [],

  (_, config) => {
    if (!config.gates.vcl) return [];
    const obstacle = vclObstacle(config);
    if (obstacle === undefined) return [ok('vclEnabled', "pods may use VPP's host stack")];
    return [
      error('vclEnabled', obstacle.why, "pods that ask for VPP's host stack are refused", obstacle.step),
    ];
  },

  // The kernel's own three rules, of both families.
  ({ rules }) => {
    const own = rules.filter(({ priority }) => ![0, 32766, 32767].includes(priority));
    if (own.length === 0) return [];
    return [
      warning(
        'routing rules',
        `${own.length} rule(s) choose a routing table (${own
          .slice(0, 3)
          .map(({ priority }) => priority)
          .join(', ')})`,
        'VPP gets the main table alone: what a rule sends through an uplink leaves by the main table there',
        'move the routes that matter to the main table',
      ),
    ];
  },

  ({ host }, { paths }) =>
    host.unreachable
      ? [
          error(
            paths.host_root,
            'is not there, and this is not the host itself',
            "the host's network services are not told that a tap takes the place of the uplink: they may take its addresses, its name servers and its lease away",
            "mount the host's / there, or set CALICOVPP_HOST_ROOT to where it is",
          ),
        ]
      : [],

  ({ host }) =>
    (host.unanswered ?? []).map((question) =>
      warning(
        question,
        'is not answered by the host in time, twice',
        'what it would have told counts as not there: a service that manages the uplink would not be told of the tap',
        'see what keeps the host busy, and check again',
      ),
    ),

  ({ host }) =>
    host.unreachable || host.files_base !== undefined || !(host.has_udev || host.active.length > 0)
      ? []
      : [
          warning(
            `${host.root}/run`,
            'cannot be written, nor can /etc',
            'files of our own keep udev from changing the MAC of the tap, NetworkManager from emptying resolv.conf, and have systemd-networkd renew a lease by a file that would not match the tap',
            "mount the host's / writable, or put such files there yourself",
          ),
        ],

  ({ host }, { hooks }) => {
    if (!host.has_udev || hooks.scripts.BEFORE_VPP_RUN === '') return [];
    return [
      warning(
        'udev',
        'may give the host tap a MAC of its own choice',
        'the script CALICOVPP_HOOK_BEFORE_VPP_RUN takes the place of the built-in work that keeps it from that (MACAddressPolicy)',
        'have a .link file with Driver=tun and MACAddressPolicy=none on the host',
      ),
    ];
  },
];

/** Everything that is worth telling, in the order of the checks. */
export function findings(config: Config, facts: CheckFacts): Finding[] {
  const views = config.uplinks.flatMap((uplink): UplinkView[] => {
    const link = facts.links.find(
      ({ name, altnames }) => name === uplink.interface_name || altnames.includes(uplink.interface_name),
    );
    if (!link) return [];
    const { own: state, leftovers } = withoutLeftovers(linkStateOf(link, facts));
    return [{ uplink, link, state, leftovers, facts, config }];
  });
  const absent = config.uplinks.filter((uplink) => !views.some((view) => view.uplink === uplink));
  const placed = views.flatMap(({ uplink, link, state }) =>
    state.addresses
      .filter((address) => address.family === 4)
      .map(({ prefix }) => ({ link: link.name, prefix, physical_network: uplink.physical_network })),
  );
  const uplink_findings = views.flatMap((view) => {
    const found = uplink_checks.flatMap((check) => check(view));
    return found.some(({ severity }) => severity !== 'ok')
      ? found
      : [ok(view.link.name, 'can be taken over'), ...found];
  });
  return [
    ...machine_checks.flatMap((check) => check(facts, config)),
    ...goFindings(facts.go),
    ...absent.map((uplink) => missingLink(uplink, facts)),
    ...uplink_findings,
    ...collisionFindings(views),
    ...overlapFindings(placed),
  ];
}

/** What VPP lets through, as far as it can be tried; see docs/policies-limits.md. */
export function doorFindings(trial: DoorTrial | Error): Finding[] {
  if (trial instanceof Error)
    return [
      warning(
        'policies',
        `it was not tried what VPP lets through: ${trial.message}`,
        'doors that are known of VPP are taken for open',
        'nothing, if VPP runs otherwise',
      ),
    ];
  const open = openDoors(trial);
  if (open.length === 0)
    return [ok('policies', `VPP has none of the doors that can be tried (${trial.vpp})`)];
  return [
    warning(
      'policies',
      `VPP lets through what they deny: ${open.join(', ')} (${trial.vpp})`,
      'no setting closes these: against pods that may send packets of their own making, isolation is no boundary',
      'take NET_RAW from pods that are not trusted, or use a VPP in which it is mended; /debug/policies says what each of them is',
    ),
  ];
}

/** A configuration that cannot be read is a list of findings, too. */
export function configFindings(problems: readonly Problem[], warnings: readonly string[] = []): Finding[] {
  return [
    ...problems.map(({ variable, path, cause, step }) =>
      error(path ? `${variable} ${path}` : variable, cause, 'the process does not start with it', step),
    ),
    ...warnings.map((text) =>
      warning('configuration', text, 'it may not be what was meant', 'correct it, or leave it'),
    ),
  ];
}

/** 1 when something would go wrong for certain. */
export const checkExitCode = (found: readonly Finding[]): 0 | 1 =>
  found.some(({ severity }) => severity === 'error') ? 1 : 0;

const marks = { ok: 'ok     ', warning: 'WARNING', error: 'ERROR  ' } as const;
const severities = ['error', 'warning', 'ok'] as const;

/** For a terminal: errors first, a closing line with the counts. */
export function renderFindings(found: readonly Finding[]): string {
  const text = severities.flatMap((severity) =>
    found
      .filter((finding) => finding.severity === severity)
      .map(({ subject, what, why, step }) =>
        [
          `${marks[severity]} ${subject}: ${what}`,
          ...(why ? [`        why:  ${why}`] : []),
          ...(step ? [`        step: ${step}`] : []),
        ].join('\n'),
      ),
  );
  const count = (severity: Finding['severity']): number =>
    found.filter((finding) => finding.severity === severity).length;
  return `${[...text, '', `${count('error')} error(s), ${count('warning')} warning(s). Nothing was changed.`].join('\n')}\n`;
}
