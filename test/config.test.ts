import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import t from 'tap';
import * as documents from '../src/config/documents.js';
import { interface_spec_default } from '../src/config/interface-spec.js';
import { nearest } from '../src/config/nearest.js';
import { old_names } from '../src/config/old-names.js';
import { Secret } from '../src/config/secret.js';
import { type Variable, variables } from '../src/config/variables.js';
import { BadValue, ConfigError, describeConfig, loadConfig, readInterfaceSpec } from '../src/config.js';
import { routeSource } from '../src/node/route-source.js';

const uplink = (more: object = {}) => ({ interfaceName: 'eth0', vppDriver: 'af_packet', ...more });
const env = (
  interfaces: object = { uplinkInterfaces: [uplink()] },
  more: NodeJS.ProcessEnv = {},
): NodeJS.ProcessEnv => ({
  NODENAME: 'node1',
  CALICOVPP_INTERFACES: JSON.stringify(interfaces),
  ...more,
});
const load = (...args: Parameters<typeof env>) => loadConfig(env(...args)).config;
const warnings = (...args: Parameters<typeof env>) => loadConfig(env(...args)).warnings;
const withUplink = (more: object) => ({ uplinkInterfaces: [uplink(more)] });

function problems(...args: Parameters<typeof env>): string[] {
  try {
    loadConfig(env(...args));
  } catch (error) {
    if (error instanceof ConfigError) {
      return error.problems.map(({ variable, path, cause }) => `${variable} ${path ?? ''}: ${cause}`);
    }
    throw error;
  }
  return [];
}

t.test('one uplink is enough, and everything else has the documented default', async (t) => {
  const config = load();
  t.match(config, {
    node_name: 'node1',
    service_prefixes: [],
    graceful_shutdown_timeout_ms: 10_000,
    log: { level: 'info', format: 'json' },
    tap_address: '169.254.0.1/32',
    neighbours: { ip4: { max_number: 50_000, max_age_s: 30 }, ip6: { max_number: 50_000, max_age_s: 30 } },
    gates: {
      memif: false,
      vcl: false,
      multinet: false,
      srv6: false,
      ipsec: false,
      prometheus: false,
      services: true,
      gso: true,
      spread_tx_queues: false,
      udev_net_name_rules: true,
      uplink_128_to_64: true,
    },
    link_local_tries: 5,
    vpp: { binary: '/usr/bin/vpp', startup_sleep_ms: 0, core_pattern: '', netns: 'calico-vpp-ns' },
    hooks: { built_in: true },
    bgp: { server_mode: 'dualStack', log_level: 'info' },
    prometheus: {
      listen: { host: '127.0.0.1', port: 8888 },
      interval_ms: 5000,
      prefix: 'cni.projectcalico.vpp.',
      legacy: true,
      per_worker: false,
    },
    health: { port: 9090 },
    debug: { port: 0 },
    kubernetes: false,
    felix: false,
    paths: {
      startup_config: '/etc/vpp/startup.conf',
      api_socket: '/var/run/vpp/vpp-api.sock',
      stats_socket: '/var/run/vpp/stats.sock',
      cni_socket: '/var/run/calico/cni-server.sock',
    },
  });
  t.notOk('config_template' in config.vpp, 'no template is needed');
  t.throws(() => {
    (config.uplinks as unknown[]).push(1);
  }, 'the object is frozen to its depth');
  t.throws(() => {
    (config.main_uplink as { mtu?: number }).mtu = 1;
  });
});

t.test('Kubernetes is used when its variables are there, unless told otherwise', async (t) => {
  const cluster = { KUBERNETES_SERVICE_HOST: '10.96.0.1' };
  t.match(load(undefined, cluster), { kubernetes: true, felix: true });
  t.match(load(undefined, { ...cluster, CALICOVPP_KUBERNETES: 'off' }), { kubernetes: false, felix: false });
  const by_file = { KUBECONFIG: '/etc/kubeconfig', CALICOVPP_KUBERNETES: 'on', CALICOVPP_FELIX: 'off' };
  t.match(load(undefined, by_file), { kubernetes: true, kubeconfig: '/etc/kubeconfig', felix: false });
  t.throws(() => load(undefined, { CALICOVPP_KUBERNETES: 'on' }), { message: /no API server is known/ });
});

t.test('routes come from where one says, else from BGP where it is used', async (t) => {
  const { route_source, bgp } = load(undefined, {});
  t.match({ route_source, bgp }, { route_source: 'auto', bgp: { networking: 'bird' } });
  t.notOk('router_id' in bgp);
  for (const [env, with_gobgpd, without] of [
    [{}, 'bgp', 'ipam'],
    [{ CALICO_NETWORKING_BACKEND: 'bird' }, 'bgp', 'ipam'],
    [{ CALICO_NETWORKING_BACKEND: 'none' }, 'ipam', 'ipam'],
    [{ CALICO_NETWORKING_BACKEND: 'vxlan' }, 'ipam', 'ipam'],
    [{ CALICO_NETWORKING_BACKEND: 'vxlan', CALICOVPP_ROUTE_SOURCE: 'bgp' }, 'bgp', 'bgp'],
    [{ CALICOVPP_ROUTE_SOURCE: 'ipam' }, 'ipam', 'ipam'],
  ] as const) {
    const config = load(undefined, { KUBERNETES_SERVICE_HOST: '10.96.0.1', ...env });
    t.equal(routeSource(config, true), with_gobgpd, JSON.stringify(env));
    t.equal(routeSource(config, false), without, JSON.stringify(env));
  }
  t.equal(routeSource(load(undefined, {}), true), 'ipam', 'without a cluster nobody says whom to peer with');
  for (const id of ['10.0.0.1', 'hash', '223.255.255.254'])
    t.equal(load(undefined, { CALICO_ROUTER_ID: id }).bgp.router_id, id);
  for (const id of ['0.0.0.1', '127.0.0.1', '224.0.0.1', 'fd00::1', '1', 'Hash'])
    t.throws(() => load(undefined, { CALICO_ROUTER_ID: id }), { message: /CALICO_ROUTER_ID/ }, id);
  t.equal(
    load(undefined, { CALICO_API_GROUP: 'projectcalico.org/v3' }).calico_version,
    'projectcalico.org/v3',
  );
});

t.test('values follow the syntax of the Go implementation', async (t) => {
  const value = (name: string, text: string, read: (config: ReturnType<typeof load>) => unknown) =>
    read(load(undefined, { [name]: text }));
  for (const [text, ms] of Object.entries({
    '10s': 10_000,
    '1m30s': 90_000,
    '500ms': 500,
    '1.5h': 5_400_000,
    '0': 0,
    '.5s': 500,
  })) {
    t.equal(
      value('CALICOVPP_GRACEFUL_SHUTDOWN_TIMEOUT', text, (c) => c.graceful_shutdown_timeout_ms),
      ms,
      text,
    );
  }
  for (const text of ['10', 's', '1x', '10 s', '-1s', '1s2', '999999h']) {
    t.match(problems(undefined, { CALICOVPP_GRACEFUL_SHUTDOWN_TIMEOUT: text })[0], /is not a duration/, text);
  }
  for (const text of ['1', 't', 'T', 'TRUE', 'true', 'True']) {
    t.equal(
      value('CALICOVPP_ENABLE_NETWORK_MANAGER_HOOK', text, (c) => c.hooks.built_in),
      true,
      text,
    );
  }
  for (const text of ['0', 'f', 'F', 'FALSE', 'false', 'False']) {
    t.equal(
      value('CALICOVPP_ENABLE_NETWORK_MANAGER_HOOK', text, (c) => c.hooks.built_in),
      false,
      text,
    );
  }
  t.match(problems(undefined, { CALICOVPP_ENABLE_NETWORK_MANAGER_HOOK: 'yes' })[0], /neither true nor false/);
  t.equal(
    value('CALICOVPP_BGP_SERVER_MODE', 'V4ONLY', (c) => c.bgp.server_mode),
    'v4Only',
  );
  t.equal(
    value('CALICOVPP_LOG_LEVEL', 'warning', (c) => c.log.level),
    'warn',
  );
  t.equal(
    value('CALICOVPP_LOG_LEVEL', 'panic', (c) => c.log.level),
    'fatal',
  );
  t.equal(
    value('CALICOVPP_LOG_LEVEL', '', (c) => c.log.level),
    'info',
    'empty is unset',
  );
  t.match(problems(undefined, { CALICOVPP_LOG_LEVEL: 'loud' })[0], /"loud" is not a log level/);
  t.match(problems(undefined, { CALICOVPP_LOG_FORMAT: 'xml' })[0], /CALICOVPP_LOG_FORMAT/);
  t.same(
    value('SERVICE_PREFIX', '10.96.0.0/12, fd00:96::/112,', (c) => c.service_prefixes),
    ['10.96.0.0/12', 'fd00:96::/112'],
  );
  t.same(
    value('SERVICE_PREFIX', '10.96.0.1/12', (c) => c.service_prefixes),
    ['10.96.0.1/12'],
    'host bits stay',
  );
  for (const text of [
    '10.96.0.0',
    '10.96.0.0/33',
    '10.96.0/24',
    'fe80::1%eth0/64',
    '10.0.0.0/08',
    '10.0.0.0/8/8',
  ]) {
    t.match(
      problems(undefined, { CALICOVPP_TAP0_ADDR: text })[0],
      /CALICOVPP_TAP0_ADDR .*prefix length/,
      text,
    );
  }
});

t.test('every problem is reported at once, with variable, place, cause and step', async (t) => {
  const broken = {
    CALICOVPP_INTERFACES: JSON.stringify({ uplinkInterfaces: [uplink({ rxqsz: 1000, mtu: '9000' })] }),
    CALICOVPP_DEBUG: '{"gsoEnabled":"yes"}',
    CALICOVPP_IPSEC: '{',
    CALICOVPP_TAP0_ADDR: 'nonsense',
    SERVICE_PREFIX: '10.0.0.0/8,a,b',
  };
  const error = t.throws(() => loadConfig(broken)) as unknown as ConfigError;
  t.type(error, ConfigError);
  t.same([...new Set(error.problems.map(({ variable }) => variable))].sort(), [
    'CALICOVPP_DEBUG',
    'CALICOVPP_INTERFACES',
    'CALICOVPP_IPSEC',
    'CALICOVPP_TAP0_ADDR',
    'NODENAME',
    'SERVICE_PREFIX',
  ]);
  t.equal(error.problems.filter(({ variable }) => variable === 'SERVICE_PREFIX').length, 2);
  t.match(
    error.message,
    /CALICOVPP_DEBUG gsoEnabled: expected true or false, received "yes"; use true or false/,
  );
  t.match(
    error.message,
    /CALICOVPP_INTERFACES uplinkInterfaces\[0\]\.mtu: expected a whole number from 0 to 65535/,
  );
  t.ok(error.problems.every(({ step }) => step.length > 0));
});

t.test('JSON keys match in any letter case, null is absent, unknown keys are named', async (t) => {
  const { config, warnings } = loadConfig(
    env(
      {
        UplinkInterfaces: [{ INTERFACENAME: 'eth0', vppdriver: 'af_packet', mtu: null, rxqz: 4 }],
        maxPodIfSpec: null,
      },
      { CALICOVPP_INITIAL_CONFIG: '{"__proto__":{"a":1},"healthcheckport":9091}', CALICOVPP_SRV6: 'null' },
    ),
  );
  t.equal(config.main_uplink.interface_name, 'eth0');
  t.equal(config.health.port, 9091);
  t.ok(warnings.some((text) => /uplinkInterfaces\[0\]\.rxqz is ignored; did you mean rxqsz\?/i.test(text)));
  t.ok(warnings.some((text) => /__proto__/.test(text)));
});

t.test('variables that nobody reads are named', async (t) => {
  const seen = warnings(undefined, {
    CALICOVPP_INTERFACE5: 'x',
    MY_CALICOVPP_X: '1',
    CALICOVPP_INIT_SCRIPT_TEMPLATE: 'x',
    OTHER: '1',
  });
  t.match(seen, [
    /CALICOVPP_INIT_SCRIPT_TEMPLATE has no effect/,
    /CALICOVPP_INTERFACE5 is unknown.*mean CALICOVPP_INTERFACES?\?/,
    /MY_CALICOVPP_X/,
  ]);
  t.equal(seen.length, 3);
});

t.test('the namespace of VPP has a name that can be one', async (t) => {
  const faults = (name: string) => {
    try {
      load(undefined, { CALICOVPP_VPP_NETNS: name });
      return [];
    } catch (error) {
      return (error as ConfigError).problems;
    }
  };
  t.same(faults('vpp-1.a'), []);
  for (const name of ['../x', 'a/b', 'x'.repeat(65)])
    t.match(faults(name), [{ variable: 'CALICOVPP_VPP_NETNS', cause: /is no name for a network namespace/ }]);
});

t.test('names of earlier releases lead to what took their place', async (t) => {
  const told = (name: string) => warnings(undefined, { [name]: '1' }).join();
  t.equal(
    told('CALICOVPP_CORE_PATTERN'),
    'CALICOVPP_CORE_PATTERN is unknown and has no effect: use corePattern in CALICOVPP_INITIAL_CONFIG',
  );
  t.match(told('CALICOVPP_IP_CONFIG'), /no effect: remove it$/);
  t.match(told('CALICOVPP_NODE_NAME'), /: use NODENAME$/);
  t.notMatch(told('CALICOVPP_toString'), /: use/);
  const known = Object.values(variables).map(({ name }) => name);
  const keys_of = documentsOf();
  for (const [name, instead] of Object.entries(old_names)) {
    t.notOk(known.includes(name), `${name} is not in use`);
    const [, keys, variable] = /^(?:(.*) in )?([A-Z_0-9]+)$/.exec(instead) ?? [];
    t.ok(instead === '' || known.includes(variable!), `${name}: ${variable} is`);
    for (const key of keys?.match(/[a-z]+[A-Z]\w*/g) ?? [])
      t.ok(keys_of[variable!]?.includes(key), `${variable} has ${key}`);
  }
});

/** By variable, the text of all keys of its document, as the manual lists them. */
function documentsOf(): Record<string, string> {
  const manual = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  const parts = manual.split(/^## /m);
  const ofVariable = (name: string) => parts.find((part) => part.startsWith(`\`${name}\``)) ?? parts.join();
  return Object.fromEntries(Object.values(variables).map(({ name }) => [name, ofVariable(name)]));
}

t.test('uplinks', async (t) => {
  t.test('each keeps its own index and complete queue settings', async (t) => {
    const { uplinks } = load({
      uplinkInterfaces: [uplink({ rx: 2 }), uplink({ interfaceName: 'eth1', txqsz: 512, rxMode: 'polling' })],
    });
    t.match(uplinks, [
      { index: 0, is_main: true, rx_queues: 2, tx_queues: 1, rx_ring_size: 1024, tx_ring_size: 1024 },
      {
        index: 1,
        is_main: false,
        rx_queues: 1,
        tx_queues: 1,
        rx_ring_size: 1024,
        tx_ring_size: 512,
        rx_mode: 'polling',
      },
    ]);
    t.notOk('rx_mode' in uplinks[0]!);
  });

  t.test('the main one is the one that says so, else the first', async (t) => {
    t.equal(
      load({ uplinkInterfaces: [uplink(), uplink({ interfaceName: 'eth1', isMain: true })] }).main_uplink
        .index,
      1,
    );
    t.match(
      problems({
        uplinkInterfaces: [uplink({ isMain: true }), uplink({ interfaceName: 'eth1', isMain: true })],
      }),
      [/eth0 and eth1 all have isMain/],
    );
  });

  t.test('only the main one may leave its driver open', async (t) => {
    const open = load({ uplinkInterfaces: [{ interfaceName: 'eth0' }, uplink({ interfaceName: 'eth1' })] });
    t.notOk('driver' in open.main_uplink);
    t.match(problems({ uplinkInterfaces: [uplink(), { interfaceName: 'eth1' }] }), [
      /uplinkInterfaces\[1\]\.vppDriver: the driver of eth1/,
    ]);
  });

  t.test('impossible ones are refused by name', async (t) => {
    const cases: [object, RegExp][] = [
      [{ uplinkInterfaces: [] }, /no uplink is named/],
      [{}, /no uplink is named/],
      [{ uplinkInterfaces: [{}] }, /it names no device/],
      [withUplink({ interfaceName: 'an-interface-name' }), /cannot be the name/],
      [withUplink({ interfaceName: 'a/b' }), /cannot be the name/],
      [withUplink({ vppDriver: 'af_paket' }), /"af_paket" is not a driver; did you mean af_packet/],
      [withUplink({ vppDriver: 'vmxnet' }), /is not a driver; did you mean vmxnet3/],
      [withUplink({ rxqsz: 1000 }), /rxqsz: a ring of 1000/],
      [withUplink({ txqsz: 65536 }), /txqsz: expected a whole number from 0 to 32768/],
      [withUplink({ rx: -1 }), /rx: expected a whole number/],
      [withUplink({ rx: 1.5 }), /rx: expected a whole number/],
      [withUplink({ vppDriver: 'af_xdp', rxqsz: 128 }), /a ring of 128/],
      [withUplink({ vppDriver: 'rdma', txqsz: 128 }), /a ring of 128/],
      [withUplink({ mtu: 60 }), /mtu: 60 is less/],
      [withUplink({ ipFamilies: 'IPv5' }), /ipFamilies: "IPv5"/],
      [withUplink({ annotations: { AfPacketUseV3: 'yes' } }), /annotations\.AfPacketUseV3: "yes" is neither/],
      [{ uplinkInterfaces: [uplink(), uplink()] }, /eth0 is named twice/],
    ];
    for (const [document, expected] of cases) t.match(problems(document), [expected], String(expected));
    t.same(problems(withUplink({ rxqsz: 128 })), [], 'af_packet takes less than 256');
  });

  t.test('a kernel driver that nothing is bound to is told to have no effect', async (t) => {
    const told = (vppDriver: string) =>
      warnings(withUplink({ vppDriver, newDriver: 'vfio-pci' })).filter((text) => /newDriver/.test(text));
    for (const driver of ['af_packet', 'af_xdp', 'rdma', 'none'])
      t.match(told(driver), [new RegExp(`newDriver has no effect: with ${driver} the device keeps`)]);
    for (const driver of ['virtio', 'dpdk', 'iavf', '']) t.same(told(driver), []);
  });

  t.test('families, in any order and letter case', async (t) => {
    t.same(load(withUplink({ ipFamilies: 'ipv6, IPv4' })).main_uplink.families, [4, 6]);
    t.same(load(withUplink({ ipFamilies: 'IPv6' })).main_uplink.families, [6]);
    t.same(load().main_uplink.families, []);
  });

  t.test('TPACKET_V3 does not pin gigabytes', async (t) => {
    const v3 = (more: object) => env(withUplink({ annotations: { AfPacketUseV3: 'true' }, ...more }));
    t.equal(loadConfig(v3({})).config.main_uplink.rx_ring_size, 32);
    const capped = loadConfig(v3({ rxqsz: 1024 }));
    t.equal(capped.config.main_uplink.rx_ring_size, 32);
    t.match(capped.warnings, [/10\.0 GiB per queue: 32 is used/]);
    t.equal(loadConfig(v3({ rxqsz: 16 })).config.main_uplink.rx_ring_size, 16);
  });

  t.test('the deprecated variables make the first uplink', async (t) => {
    const old = {
      CALICOVPP_INTERFACE: 'ens5',
      CALICOVPP_NATIVE_DRIVER: 'AF_PACKET',
      CALICOVPP_SWAP_DRIVER: 'vfio-pci',
    };
    const { config, warnings } = loadConfig(env({}, old));
    t.match(config.main_uplink, {
      interface_name: 'ens5',
      driver: 'af_packet',
      new_driver: 'vfio-pci',
      index: 0,
    });
    t.equal(warnings.filter((text) => /is deprecated/.test(text)).length, 3);
    t.match(config.origins.CALICOVPP_INTERFACE, { origin: 'deprecated', value: 'ens5' });
    t.equal(load(undefined, old).uplinks.length, 2);
    t.match(problems(undefined, { CALICOVPP_INTERFACE: 'eth0' }), [/eth0 is named twice/]);
    t.match(warnings.length && loadConfig(env(undefined, { CALICOVPP_SWAP_DRIVER: 'x' })).warnings, [
      /deprecated/,
      /no effect without/,
    ]);
  });
});

t.test('pod interfaces', async (t) => {
  const pods = (document: object) => load({ uplinkInterfaces: [uplink()], ...document }).pods;
  t.same(pods({}).spec, { rx_queues: 1, tx_queues: 1, rx_ring_size: 1024, tx_ring_size: 1024, is_l3: true });
  t.same(pods({}).limits, {}, 'no limit unless one is given');
  t.same(
    pods({ maxPodIfSpec: { rx: 4 } }).limits,
    { rx_queues: 4 },
    'a limit on one field is no limit on the others',
  );
  t.equal(pods({ maxPodIfSpec: { rxqsz: 512 } }).spec.rx_ring_size, 512, 'the default bows to the limit');
  t.match(problems({ uplinkInterfaces: [uplink()], maxPodIfSpec: { rx: 2 }, defaultPodIfSpec: { rx: 4 } }), [
    /defaultPodIfSpec\.rx: 4 is more than the 2 of maxPodIfSpec/,
  ]);
  t.match(problems({ uplinkInterfaces: [uplink()], defaultPodIfSpec: { txqsz: 3 } }), [
    /defaultPodIfSpec\.txqsz/,
  ]);
  t.match(load({ uplinkInterfaces: [uplink()], vppHostTapSpec: { rx: 2, rxMode: 'interrupt' } }).host_tap, {
    rx_queues: 2,
    rx_mode: 'interrupt',
  });

  const warn: string[] = [];
  const read = (value: unknown) =>
    readInterfaceSpec(value, interface_spec_default, { rx_queues: 2 }, (text) => warn.push(text));
  t.same(
    read({ isl3: false }),
    { ...interface_spec_default, is_l3: false },
    'an annotation is filled in too',
  );
  t.throws(() => read({ rx: 3, rxqsz: 7 }), BadValue);
  t.throws(() => read({ rxMode: 1 }), BadValue);
  t.same(read({ rxMode: 'sometimes' }), interface_spec_default);
  t.match(warn, [/rxMode "sometimes" is not one of polling/]);
});

t.test('initial config', async (t) => {
  const initial = (document: object) => ({ CALICOVPP_INITIAL_CONFIG: JSON.stringify(document) });
  const rules = [
    { proto: 'UDP', port: 53, ip: '172.18.0.1' },
    { proto: 'tcp', port: 53, ip: 'fd00::1' },
  ];
  const config = load(
    undefined,
    initial({
      redirectToHostRules: rules,
      defaultGWs: '192.168.0.1, fd00::1',
      prometheusListenEndpoint: '[::1]:9000',
      prometheusRecordMetricInterval: '2s',
      vppStartupSleepSeconds: 1,
    }),
  );
  t.same(config.redirect_to_host, [
    { protocol: 'udp', port: 53, ip: '172.18.0.1' },
    { protocol: 'tcp', port: 53, ip: 'fd00::1' },
  ]);
  t.same(config.default_gateways, ['192.168.0.1', 'fd00::1']);
  t.same(config.prometheus.listen, { host: '::1', port: 9000 });
  t.equal(config.prometheus.interval_ms, 2000);
  t.match(config.prometheus, { legacy: true, per_worker: false });
  const other = initial({ legacyMetrics: 'false', workerMetrics: true });
  t.match(load(undefined, other).prometheus, { legacy: false, per_worker: true });
  const gates = { CALICOVPP_FEATURE_GATES: '{"prometheusEnabled": "true"}' };
  t.equal(load(undefined, gates).gates.prometheus, true, 'as the manual of the Go implementation has it');
  t.equal(config.vpp.startup_sleep_ms, 1000);
  t.equal(load(undefined, initial({ prometheusRecordMetricInterval: 5e9 })).prometheus.interval_ms, 5000);

  const cases: [object, RegExp][] = [
    [{ redirectToHostRules: [{ proto: 'gre', ip: '1.1.1.1' }] }, /redirectToHostRules\[0\]\.proto: "gre"/],
    [
      { redirectToHostRules: [{ proto: 'udp', port: 70000, ip: '1.1.1.1' }] },
      /redirectToHostRules\[0\]\.port/,
    ],
    [
      { redirectToHostRules: [{ proto: 'udp', ip: 'dns' }] },
      /redirectToHostRules\[0\]\.ip: expected an IP address/,
    ],
    [{ redirectToHostRules: [{ proto: 'icmp', ip: 'fd00::1' }] }, /icmp does not go with fd00::1/],
    [{ defaultGWs: '10.0.0.1,gw' }, /defaultGWs: "gw" is not an IP address/],
    [{ prometheusListenEndpoint: 'here' }, /prometheusListenEndpoint: expected host:port/],
    [{ healthCheckPort: 0 }, /healthCheckPort/],
  ];
  for (const [document, expected] of cases)
    t.match(problems(undefined, initial(document)), [expected], String(expected));
});

t.test('a feature that lacks its settings is refused at the start', async (t) => {
  t.match(problems(undefined, { CALICOVPP_FEATURE_GATES: '{"ipsecEnabled":true}' }), [
    /IKEV2_PSK .*empty, while ipsecEnabled/,
  ]);
  const psk = (text: string) =>
    problems(undefined, {
      CALICOVPP_FEATURE_GATES: '{"ipsecEnabled":true}',
      CALICOVPP_IPSEC_IKEV2_PSK: text,
    });
  t.match(psk(' \n'), [/IKEV2_PSK .*empty, while ipsecEnabled/]);
  t.match(psk('x'.repeat(1025)), [/^(?!.*xxx).*IKEV2_PSK .*more than 1024 bytes/]);
  t.strictSame(psk(`${'x'.repeat(1024)}\n`), []);
  t.match(
    problems(undefined, {
      CALICOVPP_FEATURE_GATES: '{"srv6Enabled":true}',
      CALICOVPP_SRV6: '{"localsidPool":"fcff::/48"}',
    }),
    [/CALICOVPP_SRV6 policyPool: it is empty/],
  );
  t.match(problems(undefined, { CALICOVPP_SRV6: '{"localsidPool":"x"}' }), [
    /localsidPool: "x" is not an address/,
  ]);
});

t.test('the IPsec key is never shown', async (t) => {
  const psk = 'hunter2-hunter2';
  const { config } = loadConfig(env(undefined, { CALICOVPP_IPSEC_IKEV2_PSK: psk }));
  t.equal(config.ipsec.psk.reveal(), psk);
  const of_a_file = loadConfig(env(undefined, { CALICOVPP_IPSEC_IKEV2_PSK: `${psk}\n` })).config;
  t.equal(of_a_file.ipsec.psk.reveal(), psk, 'as one that is read from a file');
  for (const shown of [
    JSON.stringify(config),
    inspect(config, { depth: 9, showHidden: true }),
    `${config.ipsec.psk}`,
    JSON.stringify(describeConfig(config)),
  ]) {
    t.notMatch(shown, psk);
  }
  t.match(describeConfig(config), {
    ipsec: { psk: '[redacted]' },
    origins: { CALICOVPP_IPSEC_IKEV2_PSK: { origin: 'environment' } },
  });
  t.match(describeConfig(config), { origins: { CALICOVPP_LOG_LEVEL: { origin: 'default', value: 'info' } } });
});

t.test('a mistyped word finds its neighbour, a strange one finds none', async (t) => {
  t.same(nearest('eht0', ['eth0', 'lo', 'docker0']), ['eth0']);
  t.same(nearest('ens5', ['ens6', 'ens7', 'wlan0'], 2), ['ens6', 'ens7']);
  t.same(nearest('uplink', ['eth0', 'lo']), []);
});

t.test('the manual knows every variable and every JSON key', async (t) => {
  const manual = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  const names = Object.values(variables).map(({ name }) => name);
  const keys = Object.entries(documents).flatMap(([name, schema]) =>
    name.endsWith('_document') && 'entries' in schema ? Object.keys(schema.entries) : [],
  );
  t.ok(keys.length > 30);
  for (const word of [...names, ...keys]) t.ok(manual.includes(`\`${word}\``), word);
});

/** Rows of the manual that begin with a variable: name, type, default. */
function rowsOfVariables(): readonly (readonly [string, string, string])[] {
  const manual = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  return [...manual.matchAll(/^\| `([A-Z][A-Z0-9_]+)` \|([^|]*)\|([^|]*)\|/gm)].map(
    ([, name, type, fallback]) => [name!, type!.trim(), fallback!.trim()],
  );
}

t.test('the manual’s defaults are those of the program', async (t) => {
  const rows = rowsOfVariables();
  const own = Object.values(variables) as readonly Variable<unknown>[];
  const described = own.filter(
    ({ name }) => !name.startsWith('CALICOVPP_') || rows.some(([row]) => row === name),
  );
  t.ok(described.length > 55, `${described.length} have a row`);
  for (const { name, fallback, parse, required } of described) {
    const [, type, told] = rows.find(([row]) => row === name) ?? [name, '', ''];
    t.not(type, '', `${name} has a type`);
    const [, value, more] = /^`([^`]*)`(.*)$/.exec(told) ?? [];
    if (value !== undefined && !more?.includes('directory'))
      t.same(
        parse(value, () => undefined),
        fallback,
        `${name}: ${value}`,
      );
    else if (required) t.equal(told, 'required', name);
    else
      t.ok(
        ['', undefined].includes(fallback as undefined) ||
          (Array.isArray(fallback) && fallback.length === 0) ||
          (fallback instanceof Secret && fallback.reveal() === ''),
        `${name} has no default of its own, as “${told}” says`,
      );
  }
});
