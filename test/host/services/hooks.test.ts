import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { TurnedClock } from '../../../lab/turned-clock.js';
import { type HookPoint, hook_points, loadConfig } from '../../../src/config.js';
import type { CommandResult } from '../../../src/host/command.js';
import { Hooks, type HookTools } from '../../../src/host/services/hooks.js';
import {
  activeConnections,
  appliesToTap,
  type HookPlan,
  type HostFacts,
  makesDevice,
  netNames,
  networkFileByName,
  networkFilePaths,
  planGiveBack,
  planHook,
  resolvedWords,
  saysDnsNone,
  type UplinkFacts,
  udevRules,
} from '../../../src/host/services/network-managers.js';
import { tapConnection } from '../../../src/host/services/tap-connection.js';
import type { UndoStep } from '../../../src/host/undo/undo-step.js';

const permanent =
  '[Match]\nPermanentMACAddress=02:00:00:00:00:01\nName=eth0\n\n[Network]\nDHCP=yes\n# why\n\n[DHCP]\nRouteMetric=100\n';

const host: HostFacts = {
  root: '/host',
  active: ['systemd-networkd'],
  has_udev: true,
  dns_none: false,
  files_base: '/run',
  uplinks: [
    {
      name: 'eth0',
      mac: '02:00:00:00:00:01',
      net_names: { ID_NET_NAME_PATH: 'enp0s5', ID_NET_NAME_MAC: 'enx020000000001' },
      has_lease: true,
      network_file: permanent,
    },
    { name: 'eth1', mac: '02:00:00:00:00:02', net_names: {}, has_lease: false },
  ],
};

/** One word per change or step. */
const changes = (plan: HookPlan) =>
  plan.changes.map((each) => (each.do === 'write_file' ? each.path : each.argv.join(' ')));
const undo = (plan: HookPlan) =>
  plan.undo.map((each) =>
    each.kind === 'write_file' && each.content === null
      ? `remove ${each.path}`
      : each.kind === 'run_command'
        ? each.argv.join(' ')
        : each.kind,
  );
const plan = (point: HookPoint, more: Partial<HostFacts> = {}, rules = true) =>
  planHook(point, { ...host, ...more }, rules);

t.test('a DHCPv6 client is heard beyond VPP, which takes one hop off', async (t) => {
  const [eth0, eth1] = host.uplinks as [UplinkFacts, UplinkFacts];
  const has = { has_nft: true, uplinks: [{ ...eth0, has_lease6: true }, eth1] };
  t.same(
    changes(plan('VPP_RUNNING', has))[0]?.replace(/.* nft /, ''),
    [
      'table ip6 calico_vpp_dhcp6; delete table ip6 calico_vpp_dhcp6; table ip6 calico_vpp_dhcp6 { chain out {',
      ' type filter hook postrouting priority -150;',
      ' oifname { "eth0" } ip6 daddr ff02::1:2 udp dport 547 ip6 hoplimit set 2; }; }',
    ].join(''),
  );
  t.equal(
    undo(plan('VPP_RUNNING', has))[0],
    'chroot /host nft table ip6 calico_vpp_dhcp6; delete table ip6 calico_vpp_dhcp6',
  );
  const is_told = (more: Partial<HostFacts>) =>
    changes(plan('VPP_RUNNING', more)).some((text) => text.includes('nft'));
  t.notOk(is_told({ ...has, has_nft: false }));
  t.notOk(is_told({ has_nft: true }), 'not where nobody has an IPv6 lease');
});

t.test('name servers of a router are written beside the configuration of networkd', async (t) => {
  const [eth0] = host.uplinks as [UplinkFacts];
  const resolved = { servers: ['10.0.0.1', 'fd00::53', 'fe80::1%eth0', 'fd00::54'], domains: [] };
  const by_name = '[Match]\nName=eth0\n\n[Network]\n# fd00::53\nGateway=fd00::53\nDNS=fd00::54 fd00::530\n';
  const of = (network_file: string, more: Partial<HostFacts> = {}) =>
    plan('VPP_RUNNING', {
      uplinks: [{ ...eth0, network_file, network_file_name: '10-up.network', resolved }],
      ...more,
    });
  const file = of(by_name).changes[0];
  t.match(file, {
    do: 'write_file',
    path: '/host/run/systemd/network/10-up.network.d/calico-vpp-servers.conf',
  });
  t.match(file?.do === 'write_file' && file.content, /\[Network\]\nDNS=fd00::53\nDNS=fe80::1%eth0\n$/);
  t.ok(
    changes(of(permanent)).includes(
      '/host/run/systemd/network/00-calico-vpp-eth0.network.d/calico-vpp-servers.conf',
    ),
    'beside our own file where that one has its place',
  );
  t.notOk(changes(of(by_name, { active: ['NetworkManager'] })).some((text) => text.includes('servers.conf')));
});

t.test('a .netdev file does not keep networkd from the tap of a VLAN', async (t) => {
  const [eth0] = host.uplinks as [UplinkFacts];
  const has = { uplinks: [{ ...eth0, netdev_file_names: ['10-vlan7.netdev'] }] };
  const path = '/host/run/systemd/network/10-vlan7.netdev.d/calico-vpp.conf';
  const told = changes(plan('VPP_RUNNING', has));
  const restart = told.findIndex((text) => text.includes('restart systemd-networkd'));
  t.ok(told.indexOf(path) >= 0 && told.indexOf(path) < restart, 'before networkd reads its files');
  t.ok(undo(plan('VPP_RUNNING', has)).some((text) => text.includes(path)));
  t.notOk(changes(plan('VPP_RUNNING', { ...has, active: ['NetworkManager'] })).includes(path));

  t.ok(makesDevice('[NetDev]\nName = vlan7\nKind=vlan\n[VLAN]\nId=7\n', 'vlan7'));
  t.notOk(makesDevice('[NetDev]\nName=vlan70\nKind=vlan\n', 'vlan7'));
  t.notOk(makesDevice('[Match]\nName=vlan7\n', 'vlan7'));

  const { hooks, root } = rig(t, {}, networkd);
  const ours = (base: string, name: string, text: string): void => {
    mkdirSync(join(root, base, 'systemd/network'), { recursive: true });
    writeFileSync(join(root, base, 'systemd/network', name), text);
  };
  ours('etc', '10-a.netdev', '[NetDev]\nName=eth0\nKind=bond\n');
  ours('usr/lib', '10-a.netdev', '[NetDev]\nName=other\nKind=bond\n');
  ours('etc', '20-b.netdev', '[NetDev]\nName=other\nKind=bond\n');
  ours('run', '20-b.netdev', '[NetDev]\nName=eth0\nKind=bond\n');
  await hooks.run('BEFORE_VPP_RUN');
  await hooks.run('VPP_RUNNING');
  t.ok(
    existsSync(join(root, 'run/systemd/network/10-a.netdev.d/calico-vpp.conf')),
    'of the name the first counts',
  );
  t.notOk(existsSync(join(root, 'run/systemd/network/20-b.netdev.d')));
});

t.test('a host without systemd is left alone', async (t) => {
  for (const point of hook_points)
    t.same(plan(point, { active: [], has_udev: false }), { changes: [], undo: [] }, point);
});

t.test('every file and every change of service has its undo', async (t) => {
  for (const active of [
    ['systemd-networkd'],
    ['NetworkManager'],
    ['NetworkManager', 'networking'],
  ] as const) {
    for (const point of hook_points) {
      const { changes, undo } = plan(point, { active });
      for (const change of changes) {
        if (change.do === 'write_file') {
          t.ok(
            undo.some(
              (step) =>
                step.kind === 'write_file' &&
                step.path === change.path &&
                step.content === null &&
                step.root === '/host',
            ),
            change.path,
          );
        }
      }
    }
  }
});

t.test(
  'the backend is started anew when the tap is there, and last of all when the uplink is back',
  async (t) => {
    t.same(changes(plan('BEFORE_IF_READ')), [], 'nothing is touched before the uplink is fit');
    t.same(undo(plan('BEFORE_IF_READ')), []);
    const restart = [
      'chroot /host udevadm trigger --action=add /sys/class/net/eth0 /sys/class/net/eth1',
      'chroot /host udevadm settle --timeout=5',
      'chroot /host systemctl restart systemd-networkd',
    ];
    const networkd = planGiveBack(host);
    t.same(networkd.changes, []);
    t.same(undo(networkd).reverse(), restart);
    t.ok(networkd.undo.every((step) => step.kind === 'run_command' && !step.after_boot));
    t.same(changes(plan('VPP_RUNNING')).slice(-3), restart, 'events of the uplinks alone');
    t.same(changes(plan('VPP_RUNNING', { active: ['NetworkManager'] })), [
      'chroot /host systemctl restart NetworkManager',
    ]);
    t.same(changes(plan('VPP_RUNNING', { active: ['NetworkManager', 'network'] })), [
      'chroot /host systemctl restart NetworkManager',
    ]);
    t.same(changes(plan('VPP_RUNNING', { active: ['networking'], root: '' })), [
      'systemctl restart networking',
    ]);
  },
);

t.test(
  'the connection that NetworkManager had is active again, and its name servers are known',
  async (t) => {
    const uuid = '5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03';
    const [eth0, eth1] = host.uplinks;
    const uplinks = [
      {
        ...eth0!,
        connection: uuid,
        resolved: { servers: ['10.0.0.53', 'fd00::53'], domains: ['example.org', '~.'] },
      },
      eth1!,
    ];
    const facts = { ...host, active: ['NetworkManager'] as const, uplinks };
    const dns = [
      'chroot /host resolvectl dns eth0 10.0.0.53 fd00::53',
      'chroot /host resolvectl domain eth0 example.org ~.',
    ];
    t.same(undo(planGiveBack(facts)).reverse(), [
      'chroot /host systemctl restart NetworkManager',
      ...dns,
      `chroot /host nmcli --wait 15 connection up uuid ${uuid} ifname eth0`,
    ]);
    t.same(changes(planHook('VPP_RUNNING', facts, true)), [
      'chroot /host systemctl restart NetworkManager',
      ...dns,
    ]);
    t.notMatch(
      undo(planGiveBack({ ...facts, active: ['systemd-networkd', 'NetworkManager'] })).join(),
      /nmcli|resolvectl/,
      'systemd-networkd does all that itself',
    );

    const path = '/etc/NetworkManager/system-connections/a\\:b.nmconnection';
    t.same(
      [...activeConnections(`${uuid}:eth0:${path}\n1d6edd65-0bb0-7ffb-45f1-5fb06bd0f3e0::\nError: no\n`)],
      [['eth0', { uuid, path: path.replace('\\', '') }]],
    );
    t.same([...activeConnections(`${uuid}:eth0\n`)], [['eth0', { uuid, path: '' }]]);
    t.same(resolvedWords('Link 2 (eth0): 10.0.0.53 fd00::53%2\n               10.0.0.54#dns.example\n'), [
      '10.0.0.53',
      'fd00::53%2',
      '10.0.0.54#dns.example',
    ]);
    t.same(resolvedWords('Link 2 (eth0):\n'), []);
    t.same(resolvedWords('Failed to resolve interface "eth0"\n'), []);
  },
);

t.test('NetworkManager renews a lease on the tap by a connection of ours', async (t) => {
  const keyfile = `[connection]
id=Uplink
uuid=5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03
type=vlan
interface-name=eth0
autoconnect-priority=5
zone=internal

[vlan]
id=7

[ipv4]
method=auto
dhcp-client-id=mac

[ipv6]
method=link-local
route-metric=7
`;
  const { uuid, text } = tapConnection(keyfile, 'eth0')!;
  t.equal(
    text,
    `[connection]
id=calico-vpp-eth0
uuid=${uuid}
type=tun
interface-name=eth0
autoconnect=false
zone=internal

[tun]
mode=2
vnet-hdr=true

[ipv4]
method=auto
dhcp-client-id=mac
route-metric=400

[ipv6]
method=link-local
route-metric=7
`,
  );
  t.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  t.equal(tapConnection(keyfile, 'eth0')?.uuid, uuid, 'the next life finds its own');
  t.not(tapConnection(keyfile, 'eth1')?.uuid, uuid);
  t.equal(tapConnection('DEVICE=eth0\nBOOTPROTO=dhcp\n', 'eth0'), undefined, 'no keyfile');
  const heard = ['10.7.0.1', 'fd07::1', 'fd07::53', 'fe80::1%2'];
  const ipv6Of = (lines: string): string =>
    tapConnection(`[connection]\nuuid=u\ntype=ethernet\n[ipv6]\n${lines}`, 'eth0', heard)!
      .text.split('[ipv6]\n')[1]!
      .replace('route-metric=100\n', '');
  t.equal(ipv6Of('method=auto\n'), 'method=auto\ndns=fd07::1;fd07::53;fe80::1;\n', 'as no router is heard');
  t.equal(ipv6Of('method=auto\ndns=fd07::53;\n'), 'method=auto\ndns=fd07::53;fd07::1;fe80::1;\n');
  t.equal(ipv6Of('method=disabled\n'), 'method=disabled\n', 'it would be no profile with servers');
  t.equal(tapConnection('[connection]\nuuid=u\ntype=ethernet\nmaster=bond0\n', 'eth0'), undefined);

  const [eth0, eth1] = host.uplinks;
  const uplinks = [{ ...eth0!, tap_connection: { uuid, text } }, eth1!];
  const running = plan('VPP_RUNNING', { active: ['NetworkManager'], uplinks });
  const file = '/host/run/NetworkManager/system-connections/calico-vpp-eth0.nmconnection';
  t.same(changes(running), [
    file,
    'chroot /host systemctl restart NetworkManager',
    `chroot /host nmcli --wait 15 connection up uuid ${uuid} ifname eth0`,
  ]);
  t.match(
    running.changes,
    [{ content: text, mode: 0o600 }],
    'NetworkManager takes none that others can read',
  );
  t.same(undo(running), [`remove ${file}`]);
});

t.test('NetworkManager is kept from resolv.conf by a file of ours', async (t) => {
  const dns = plan('BEFORE_VPP_RUN', { active: ['NetworkManager'], has_udev: false });
  const file = '/host/run/NetworkManager/conf.d/99-calico-vpp.conf';
  t.same(changes(dns), [file, 'chroot /host systemctl restart NetworkManager']);
  t.match(dns.changes[0], { content: /\[main\]\ndns=none\n$/ });
  t.same(
    undo(dns),
    ['chroot /host systemctl restart NetworkManager', `remove ${file}`],
    'the restart comes after the removal',
  );
  t.same(plan('BEFORE_VPP_RUN', { active: ['NetworkManager'], has_udev: false, dns_none: true }), {
    changes: [],
    undo: [],
  });
  t.same(plan('BEFORE_VPP_RUN', { has_udev: false }), { changes: [], undo: [] });

  t.ok(saysDnsNone('[main]\nplugins=keyfile\ndns = none\n'));
  t.notOk(saysDnsNone('[main]\n#dns=none\n'));
  t.notOk(saysDnsNone('[main]\ndns=none\ndns=default\n'), 'the last one counts');
  t.notOk(saysDnsNone('[device]\ndns=none\n'));
  t.notOk(saysDnsNone('[main]\nrc-manager=unmanaged # dns=none\n'));
});

t.test(
  'files go where they vanish with the boot, else where they can be written, else nowhere',
  async (t) => {
    for (const point of hook_points) {
      for (const active of [['systemd-networkd'], ['NetworkManager']] as const) {
        const all = plan(point, { active });
        t.ok(
          all.changes.every((change) => change.do !== 'write_file' || change.path.startsWith('/host/run/')),
        );
        const told = (steps: HookPlan['undo']) =>
          steps.filter((step) => step.kind === 'run_command' && step.after_boot);
        t.same(told(all.undo), [], 'nothing is left to be told after a restart of the machine');
        const etc = plan(point, { active, files_base: '/etc' });
        t.same(
          changes(etc),
          changes(all).map((each) => each.replace(/^\/host\/run\//, '/host/etc/')),
        );
        t.equal(
          told(etc.undo).length > 0,
          etc.changes.some((change) => change.do === 'write_file'),
        );
        const { files_base: _, ...none } = { ...host, active };
        t.ok(planHook(point, none, true).changes.every((change) => change.do === 'run_command'));
      }
    }
  },
);

t.test('udev gives the tap the names of the device and leaves its MAC alone', async (t) => {
  t.match(udevRules(host.uplinks).split('\n'), [
    /^#/,
    'SUBSYSTEM=="net", ATTR{address}=="02:00:00:00:00:01", ENV{DEVTYPE}=="", ENV{ID_NET_NAME_PATH}:="enp0s5", ENV{ID_NET_NAME_MAC}:="enx020000000001"',
    '',
  ]);
  const udev = plan('BEFORE_VPP_RUN');
  const rules = '/host/run/udev/rules.d/99-vpp-restore-id_net_name.rules';
  const link = '/host/run/systemd/network/00-calico-vpp-tap.link';
  t.same(changes(udev), [rules, link, 'chroot /host udevadm control --reload']);
  t.match(udev.changes[1], { content: /Driver=tun\n\n\[Link\]\nNamePolicy=keep\nMACAddressPolicy=none/ });
  t.same(undo(udev).reverse(), [
    `remove ${link}`,
    `remove ${rules}`,
    'chroot /host udevadm control --reload',
    'chroot /host udevadm trigger --action=change /sys/class/net/eth0 /sys/class/net/eth1',
  ]);
  t.same(changes(plan('BEFORE_VPP_RUN', {}, false)), [link, 'chroot /host udevadm control --reload']);
  t.equal(udevRules([host.uplinks[1]!]), '');
});

t.test('networkd manages the tap by name where its own file would not take it', async (t) => {
  const file = '/host/run/systemd/network/00-calico-vpp-eth0.network';
  const running = plan('VPP_RUNNING');
  t.same(changes(running), [
    file,
    'chroot /host udevadm trigger --action=add /sys/class/net/eth0 /sys/class/net/eth1',
    'chroot /host udevadm settle --timeout=5',
    'chroot /host systemctl restart systemd-networkd',
  ]);
  t.match(running.changes[0], {
    content: /^#.*\n\[Match\]\nName=eth0\n\n\[Network\]\nDHCP=yes\n\n\[DHCP\]\nRouteMetric=100\n$/,
  });
  t.same(undo(running), ['chroot /host systemctl restart systemd-networkd', `remove ${file}`]);

  const [eth0] = host.uplinks;
  const untouched = (more: object) =>
    changes(plan('VPP_RUNNING', { uplinks: [{ ...eth0!, ...more }] })).length === 3;
  t.ok(untouched({ has_lease: false }), 'a static address cannot run out');
  t.ok(untouched({ network_file: '[Match]\nName=e*\nMACAddress=02:00:00:00:00:01\n[Network]\nDHCP=yes\n' }));
  t.ok(untouched({ network_file: undefined }));

  t.notOk(appliesToTap('[Match]\nName=eth0\nDriver=ena\n'));
  t.notOk(appliesToTap('[Match]\nPath=pci-0000:00:05.0\n'));
  t.ok(appliesToTap('[Network]\nDriver=x\n'));
  t.equal(
    networkFileByName('[Match]\nPath=a\n[Network]\nDHCP=yes\n[Match]\nDriver=b\n', 'x').match(/\[Match\]/g)
      ?.length,
    1,
  );
});

t.test('what udev and networkctl tell', async (t) => {
  t.same(
    netNames(
      new Map([
        ['ID_NET_NAME_SLOT', 'ens5'],
        ['ID_NET_NAME_PATH', 'enp0s5'],
        ['ID_NET_NAME', 'ens5'],
        ['ID_NET_NAME_MAC', 'a"b'],
      ]),
    ),
    {
      ID_NET_NAME_SLOT: 'ens5',
      ID_NET_NAME_PATH: 'enp0s5',
    },
  );
  const status = (lines: string) =>
    networkFilePaths(
      `● 2: eth0\n      Link File: /usr/lib/a.link\n${lines}\n          State: routable (configured)\n`,
    );
  t.same(status('   Network File: /run/systemd/network/10-eth0.network'), [
    '/run/systemd/network/10-eth0.network',
  ]);
  t.same(
    status(
      '   Network File: /etc/a.network\n                 ├─/etc/a.network.d/x.conf\n                 └─/etc/a.network.d/y.conf',
    ),
    ['/etc/a.network', '/etc/a.network.d/x.conf', '/etc/a.network.d/y.conf'],
  );
  t.same(status('   Network File: n/a'), []);
});

// --- the shell around the plans -------------------------------------------------------------------------------------------

interface Line {
  readonly level: string;
  readonly text: string;
}

function rig(
  t: Pick<Test, 'teardown'>,
  env: NodeJS.ProcessEnv = {},
  answers: Record<string, Partial<CommandResult>> = {},
) {
  const root = mkdtempSync(join(tmpdir(), 'hooks-'));
  mkdirSync(join(root, 'run'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const uplinkInterfaces = [
    { interfaceName: 'eth0', vppDriver: 'af_packet' },
    { interfaceName: 'eth10', vppDriver: 'af_packet', isMain: true },
  ];
  const { config } = loadConfig({
    NODENAME: 'n',
    CALICOVPP_INTERFACES: JSON.stringify({ uplinkInterfaces }),
    ...env,
  });
  const lines: Line[] = [];
  const say = (level: string) => (_: object, text: string) => {
    lines.push({ level, text });
  };
  const log = {
    debug: say('debug'),
    info: say('info'),
    warn: say('warn'),
    error: say('error'),
    fatal: say('fatal'),
    child: () => log,
  };
  const recorded: UndoStep[] = [];
  /** What happened, in order. */
  const trace: string[] = [];
  const clock = new TurnedClock();
  const tools: HookTools = {
    config,
    host_root: root,
    placeholders: { uplinks: ['eth0', 'eth10'], first_cpu: '0', node_annotations: { a: 'b' } },
    journal: {
      pending: () => recorded,
      record: (steps) => {
        recorded.push(...steps);
        if (steps.length > 0) trace.push(`record ${steps.length}`);
      },
    },
    openNetwork: () => ({
      link: (name) => (name === 'eth0' ? ({ index: 7, mac: '02:00:00:00:00:01' } as never) : undefined),
      addresses: () => [{ link: 7, family: 4, prefix: '10.0.0.2/24', scope: 0, flags: 0, valid_s: 3600 }],
      close: () => {
        trace.push('close');
      },
    }),
    run: async (argv) => {
      const line = argv.slice(2).join(' ');
      trace.push(line);
      return { code: 1, stdout: '', stderr: '', ...answers[line] };
    },
    clock,
    log,
  };
  return { hooks: new Hooks(tools), root, lines, recorded, trace, clock, tools };
}

const networkd: Record<string, Partial<CommandResult>> = {
  'udevadm --version': { code: 0 },
  'systemctl is-active systemd-networkd NetworkManager networking network': {
    code: 3,
    stdout: 'active\ninactive\ninactive\ninactive\n',
  },
  'networkctl --no-pager status eth0': { code: 0, stdout: ' Network File: /run/10-eth0.network\n' },
  'udevadm info --query=property /sys/class/net/eth0': {
    code: 0,
    stdout: 'ID_NET_NAME_PATH=enp0s5\n',
  },
  'udevadm control --reload': { code: 0 },
};

t.test('the built-in work is recorded before it is done, once, and goes on past a failure', async (t) => {
  const { hooks, root, lines, recorded, trace } = rig(t, {}, networkd);
  writeFileSync(join(root, 'run/10-eth0.network'), permanent);

  await hooks.run('BEFORE_IF_READ');
  t.same([recorded, trace], [[], []], 'the host is not touched, nor asked, before the uplink is fit');
  /** Without the questions. */
  const done = () =>
    trace
      .splice(0)
      .filter((line) => /^(record|udevadm (control|trigger|settle)|systemctl restart)/.test(line));
  await hooks.run('BEFORE_VPP_RUN');
  t.same(done(), ['record 3', 'record 4', 'udevadm control --reload']);
  t.match(
    readFileSync(join(root, 'run/udev/rules.d/99-vpp-restore-id_net_name.rules'), 'utf8'),
    /02:00:00:00:00:01.*enp0s5/,
  );
  await hooks.run('BEFORE_VPP_RUN');
  t.same(done(), ['udevadm control --reload'], 'a second life of VPP adds nothing to the journal');

  await hooks.run('VPP_RUNNING');
  t.same(done(), [
    'record 1',
    'udevadm trigger --action=add /sys/class/net/eth0 /sys/class/net/eth10',
    'udevadm settle --timeout=5',
    'systemctl restart systemd-networkd',
  ]);
  t.match(readFileSync(join(root, 'run/systemd/network/00-calico-vpp-eth0.network'), 'utf8'), /Name=eth0\n/);
  t.notOk(existsSync(join(root, 'run/systemd/network/00-calico-vpp-eth10.network')));
  t.equal(lines.filter(({ level }) => level === 'warn').length, 3, 'the failed commands are told');
  await hooks.run('VPP_DONE_OK');
  t.equal(recorded.length, 8, 'one restart of networkd is enough, the last one');
});

t.test('what a busy host does not answer is asked again, and then told', async (t) => {
  const { hooks, tools, lines, trace, recorded } = rig(t, {}, networkd);
  const { run } = tools;
  let silent = 1;
  Object.assign(tools, {
    run: async (argv: string[], options: { timeout_ms: number }) => {
      const answer = await run(argv, options);
      return argv.includes('is-active') && silent-- > 0 ? { code: 124, stdout: '', stderr: '' } : answer;
    },
  });
  const asked = () => trace.splice(0).filter((line) => line.startsWith('systemctl is-active')).length;
  await hooks.run('BEFORE_VPP_RUN');
  t.equal(asked(), 2);
  t.equal(recorded.length, 7, 'a slow answer is one');
  silent = 2;
  lines.length = 0;
  await hooks.run('BEFORE_VPP_RUN');
  t.equal(asked(), 2, 'and no more');
  t.match(lines, [{ level: 'warn', text: /did not answer "systemctl is-active .*within 5000 ms, twice/ }]);
});

t.test('nothing is changed when the journal cannot take the undo', async (t) => {
  const { hooks, root, lines, tools } = rig(t, {}, networkd);
  tools.journal.record = () => {
    throw new Error('disk full');
  };
  await hooks.run('BEFORE_VPP_RUN');
  t.notOk(existsSync(join(root, 'run/udev')));
  t.match(lines, [{ level: 'warn', text: /hook\(BEFORE_VPP_RUN\) failed/ }]);
});

t.test('with the built-in work turned off, the first uplink alone is looked after', async (t) => {
  const { hooks, root } = rig(
    t,
    { CALICOVPP_ENABLE_NETWORK_MANAGER_HOOK: 'false', CALICOVPP_DEBUG: '{"enableUdevNetNameRules":false}' },
    networkd,
  );
  await hooks.run('BEFORE_VPP_RUN');
  t.ok(existsSync(join(root, 'run/udev/rules.d/99-vpp-restore-id_net_name.rules')));
});

t.test('a script of the user takes the place of the built-in work', async (t) => {
  const script = `echo "$0|$1|__VPP_DATAPLANE_IF__|__NODE_ANNOTATION:a__|$CANARY"; printf 'to stderr' >&2; exit 3`;
  process.env.CANARY = 'inherited';
  t.teardown(() => delete process.env.CANARY);
  const { hooks, lines, recorded, clock } = rig(t, { CALICOVPP_HOOK_BEFORE_VPP_RUN: script }, networkd);
  await hooks.run('BEFORE_VPP_RUN');
  t.equal(recorded.length, 3, 'but that the backend is told when the uplink is back');
  t.equal(clock.pending, 0, 'the time limit is gone with the script');
  t.match(
    lines.map(({ text }) => text),
    [
      'hook(BEFORE_VPP_RUN) BEFORE_VPP_RUN|eth10|eth0|b|inherited',
      'hook(BEFORE_VPP_RUN) to stderr',
      /exit status 3; it goes on/,
    ],
  );
});

t.test('of a host that cannot be reached nothing is asked, and nothing is done to it', async (t) => {
  const { hooks, trace, recorded, lines, tools } = rig(t, {}, networkd);
  Object.assign(tools, { host_root: undefined });
  for (const point of hook_points) await hooks.run(point);
  t.same([trace.filter((word) => word !== 'close'), recorded, lines], [[], [], []]);
});

t.test('what is known of the host is what it is when it is used', async (t) => {
  const { hooks, root, tools, lines } = rig(t, { CALICOVPP_HOOK_BEFORE_IF_READ: 'echo made eth0' }, networkd);
  writeFileSync(join(root, 'run/10-eth0.network'), permanent);
  const file = join(root, 'run/systemd/network/00-calico-vpp-eth0.network');
  const { openNetwork } = tools;
  Object.assign(tools, { openNetwork: () => ({ ...openNetwork(), addresses: () => [] }) });
  await hooks.run('BEFORE_IF_READ');
  t.match(lines[0], { text: 'hook(BEFORE_IF_READ) made eth0' });
  await hooks.run('BEFORE_VPP_RUN');
  await hooks.run('VPP_RUNNING');
  t.notOk(existsSync(file), 'there is no lease');
  Object.assign(tools, { openNetwork });
  await hooks.run('BEFORE_IF_READ');
  await hooks.run('BEFORE_VPP_RUN');
  await hooks.run('VPP_RUNNING');
  t.ok(existsSync(file), 'a lease that has come since is renewed on the tap');
});

t.test('a script that does not end is killed with all that it started', async (t) => {
  const { hooks, lines, clock, root } = rig(t, {
    CALICOVPP_HOOK_VPP_RUNNING: 'sleep 1000 & echo $! ; sleep 1000',
  });
  const ended = hooks.run('VPP_RUNNING');
  await said(() => lines.length > 0);
  const pid = /(\d+)$/.exec(lines[0]!.text)![1]!;
  t.ok(existsSync(`/proc/${pid}`), root);
  await clock.advance(30_000);
  await ended;
  t.match(
    lines.slice(1).map(({ text }) => text),
    [/is killed: it ran longer than 30000 ms; raise CALICOVPP_HOOK_TIMEOUT/, /ended with SIGKILL/],
  );
  await said(() => !existsSync(`/proc/${pid}`) || / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')));
  t.pass('nothing of the process group lives');
});

t.test('a hook whose time has passed does nothing more', async (t) => {
  const script = rig(t, { CALICOVPP_HOOK_VPP_RUNNING: 'echo begun; sleep 1000' });
  const abort = new AbortController();
  const ended = script.hooks.run('VPP_RUNNING', abort.signal);
  await said(() => script.lines.length > 0);
  abort.abort();
  await ended;
  t.match(
    script.lines.slice(1).map(({ text }) => text),
    [/ended with SIGKILL/],
  );
  await script.hooks.run('VPP_RUNNING', abort.signal);
  t.equal(script.lines.length, 2, 'nor is it begun');

  const built_in = rig(t, {}, networkd);
  await built_in.hooks.run('BEFORE_VPP_RUN', abort.signal);
  t.same(built_in.recorded, [], 'the host is looked at and not changed');
});

t.test('one point at a time, also behind one that was cut short', async (t) => {
  const script = rig(t, {
    CALICOVPP_HOOK_VPP_RUNNING: 'echo begun; sleep 1000',
    CALICOVPP_HOOK_VPP_ERRORED: 'echo told',
  });
  const first = script.hooks.run('VPP_RUNNING');
  const second = script.hooks.run('VPP_ERRORED');
  await said(() => script.lines.length > 0);
  await script.clock.advance(30_000);
  await Promise.all([first, second]);
  t.match(
    script.lines.map(({ text }) => text),
    [/begun/, /is killed/, /ended with SIGKILL/, /told/],
  );

  let running = 0;
  let most = 0;
  const release: (() => void)[] = [];
  const built_in = rig(t, {}, networkd);
  const hooks = new Hooks({
    ...built_in.tools,
    run: async (argv, options) => {
      if (!argv.includes('restart')) return built_in.tools.run(argv, options);
      running += 1;
      most = Math.max(most, running);
      await new Promise<void>((resolve) => release.push(resolve));
      running -= 1;
      return { code: 0, stdout: '', stderr: '' };
    },
  });
  await hooks.run('BEFORE_VPP_RUN');
  const abort = new AbortController();
  const cut = hooks.run('VPP_RUNNING', abort.signal);
  await said(() => release.length > 0);
  abort.abort();
  const next = hooks.run('VPP_RUNNING');
  release[0]!();
  await cut;
  await said(() => release.length > 1);
  release[1]!();
  await next;
  t.equal(most, 1, 'neither of the built-in work');
});

t.test('a script that leaves something in the background does not hold up the start', async (t) => {
  const { hooks, lines, clock } = rig(t, { CALICOVPP_HOOK_VPP_RUNNING: 'sleep 1000 & echo $!' });
  const ended = hooks.run('VPP_RUNNING');
  await said(() => lines.length > 0 && clock.next_ms === 200);
  await clock.advance(200);
  await ended;
  process.kill(Number(/(\d+)$/.exec(lines[0]!.text)![1]), 'SIGKILL');
  t.equal(lines.length, 1, 'and is no failure');
});

/** Turns the event loop until the condition holds. */
async function said(condition: () => boolean): Promise<void> {
  const signal = AbortSignal.timeout(10_000);
  while (!condition()) {
    signal.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
