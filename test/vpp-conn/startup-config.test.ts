import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { firstCpu, substitute, type TemplateFacts } from '../../src/config/placeholders.js';
import { buffersWanted } from '../../src/vpp-conn/startup-buffers.js';
import {
  defaultTemplate,
  hasSmallBuffers,
  type StartupFacts,
  startupConfig,
  startupExec,
} from '../../src/vpp-conn/startup-config.js';
import { sections } from '../../src/vpp-conn/startup-sections.js';
import { cnatWarnings } from '../../src/vpp-conn/startup-warnings.js';

const MiB = 2 ** 20;

const facts: StartupFacts = {
  cpus: 8,
  hugepages_bytes: 0,
  memory_bytes: 8192 * MiB,
  pods_max: 110,
  pod_rx_buffers: 1024,
  core_dumps: false,
  has_exec: true,
  vcl: false,
  paths: {
    run_dir: '/var/run/vpp',
    startup_exec: '/etc/vpp/startup.exec',
    api_socket: '/var/run/vpp/vpp-api.sock',
    cli_socket: '/var/run/vpp/cli.sock',
    stats_socket: '/var/run/vpp/stats.sock',
    vpp_pid_file: '/var/run/vpp/vpp.pid',
  },
};

const placeholders: TemplateFacts = {
  uplinks: ['eth0', 'eth1'],
  pci_addresses: ['0000:00:05.0', ''],
  first_cpu: '2',
  node_annotations: { 'example.com/queues': '4' },
};

/** The template of the Go implementation's manifests. */
const template = `unix {
  nodaemon
  full-coredump
  cli-listen /var/run/vpp/cli.sock
  pidfile /run/vpp/vpp.pid
  exec /etc/vpp/startup.exec
}
api-trace { on }
cpu { workers 0 }
socksvr { socket-name /var/run/vpp/vpp-api.sock }
plugins {
  plugin default { enable }
  plugin dpdk_plugin.so { disable }
  plugin calico_plugin.so { enable }
}
buffers { buffers-per-numa 131072 }`;

const uplink = {
  interface_name: 'eth0',
  driver: 'af_packet',
  rx_queues: 1,
  tx_queues: 2,
  rx_ring_size: 512,
  tx_ring_size: 1024,
};
const dpdk_uplink = { ...uplink, driver: 'dpdk', pci_address: '0000:00:05.0' };

t.test('the default start-up file', async (t) => {
  t.equal(
    defaultTemplate(facts),
    `unix {
  nodaemon
  nosyslog
  runtime-dir /var/run/vpp
  cli-listen /var/run/vpp/cli.sock
  pidfile /var/run/vpp/vpp.pid
  exec /etc/vpp/startup.exec
}

api-trace {
  on nitems 8192
}

cpu {
  workers 0
}

memory {
  main-heap-size 1G
}

socksvr {
  socket-name /var/run/vpp/vpp-api.sock
}

plugins {
  plugin default { enable }
  plugin dpdk_plugin.so { disable }
  plugin ping_plugin.so { disable }
}

buffers {
  buffers-per-numa 178176
  page-size 4K
}

statseg {
  socket-name /var/run/vpp/stats.sock
  size 128M
  update-interval 2
}

cnat {
  session-max 1048576
  session-cleanup-timeout 0.01
  tcp-max-age 14400
  maglev-len 10007
}
`,
  );
  const { added, warnings, text } = startupConfig(undefined, placeholders, [uplink], facts);
  t.same({ added, warnings, text }, { added: [], warnings: [], text: `${defaultTemplate(facts)}\n` });
});

t.test('the manual shows the default start-up file', async (t) => {
  const manual = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
  t.ok(manual.includes(`\`\`\`\n${defaultTemplate(facts)}\`\`\`\n`));
});

t.test('the default fits the machine', async (t) => {
  const line = (more: Partial<StartupFacts>, word: string) =>
    defaultTemplate({ ...facts, ...more })
      .split('\n')
      .filter((each) => each.includes(word))
      .map((each) => each.trim());
  t.same(line({ cpus: 2 }, 'poll-sleep'), ['poll-sleep-usec 100']);
  t.same(line({ cpus: 3 }, 'poll-sleep'), []);
  t.same(line({ core_dumps: true }, 'core'), ['full-coredump', 'coredump-size unlimited']);
  t.same(line({ pods_max: 512 }, 'main-heap'), ['main-heap-size 1G']);
  t.same(line({ pods_max: 513 }, 'main-heap'), ['main-heap-size 2G']);
  t.same(line({ memory_bytes: 10 * MiB }, 'buffers-per'), ['buffers-per-numa 1024'], 'never none');
  t.same(line({ hugepages_bytes: 512 * MiB }, 'page-size'), [], 'hugepages are used where they suffice');
  t.notOk(hasSmallBuffers(undefined, { ...facts, hugepages_bytes: 512 * MiB }));
  t.ok(hasSmallBuffers(undefined, { ...facts, hugepages_bytes: 128 * MiB }));
  t.ok(
    hasSmallBuffers('buffers { page-size 4k }', { ...facts, hugepages_bytes: 512 * MiB }),
    'the user says so',
  );
  t.same(line({ hugepages_bytes: 128 * MiB }, 'page-size'), ['page-size 4K'], 'and not where they do not');
});

/** Buffers that VPP makes of what it is asked for, as vlib_buffer_pool_create lays them out from the start of a page. */
function made(asked: number, page_bytes: number): number {
  const stride = 2368;
  const bytes = (Math.floor((asked - 1) / Math.floor(page_bytes / stride)) + 1) * page_bytes;
  let count = 0;
  for (let at = 0; at < bytes - stride; at += stride)
    if (Math.floor(at / page_bytes) === Math.floor((at + stride) / page_bytes)) count += 1;
  return count;
}

t.test('a default node finds the buffers that its pods need, on pages of any size', async (t) => {
  t.ok(Math.abs(made(131_072, 4096) - 95_647) < 3, 'as seen: where the first one begins is chance');
  for (const pods_max of [1, 50, 110, 250, 500]) {
    const wanted = buffersWanted({ pods_max, pod_rx_buffers: 1024 });
    for (const hugepages_bytes of [0, 4096 * MiB]) {
      const text = defaultTemplate({ ...facts, hugepages_bytes, memory_bytes: 64 * 1024 * MiB, pods_max });
      const asked = Number(/buffers-per-numa (\d+)/.exec(text)?.[1]);
      const there = made(asked, hugepages_bytes === 0 ? 4096 : 2 * MiB);
      t.ok(there >= wanted, `${pods_max} pods, ${hugepages_bytes} bytes of hugepages: ${there} of ${wanted}`);
      t.ok(there < 1.02 * wanted + 2000, 'and not many more');
    }
  }
});

t.test('placeholders', async (t) => {
  const put = (text: string, more: Partial<TemplateFacts> = {}) =>
    substitute(text, { ...placeholders, ...more });
  t.same(
    put('__PCI_DEVICE_ID__ __PCI_DEVICE_ID_0__ [__PCI_DEVICE_ID_1__]').text,
    '0000:00:05.0 0000:00:05.0 []\n',
  );
  t.same(put('__VPP_DATAPLANE_IF__,__VPP_DATAPLANE_IF_1__').text, 'eth0,eth1\n');
  t.same(put('cpu __CPUSET_CPUS_FIRST__').text, 'cpu 2\n');
  t.same(put('rx __NODE_ANNOTATION:example.com/queues__').text, 'rx 4\n');
  t.same(put('').text, '\n');
  t.same(put('__VPP_DATAPLANE_IF_2__ __NODE_ANNOTATION:toString__ x'), {
    text: '__VPP_DATAPLANE_IF_2__ __NODE_ANNOTATION:toString__ x\n',
    unknown: ['__VPP_DATAPLANE_IF_2__', '__NODE_ANNOTATION:toString__'],
  });
  const { pci_addresses: _, ...hook } = placeholders;
  t.same(substitute('__PCI_DEVICE_ID__ __VPP_DATAPLANE_IF__', hook).text, '__PCI_DEVICE_ID__ eth0\n');
  t.equal(
    put('__NODE_ANNOTATION:a__', { node_annotations: { a: '$&$1' } }).text,
    '$&$1\n',
    'a value is taken literally',
  );
  t.match(
    startupConfig('unix { exec __PCI_DEVICE_ID_7__ }', placeholders, [], facts).warnings[0],
    /__PCI_DEVICE_ID_7__ has no value/,
  );
  t.equal(startupExec('', placeholders), '\n');
  t.same(['2-5,8', '7', '0,2', '', '\n'].map(firstCpu), ['2', '7', '0', '', '']);
});

t.test('sections are found as VPP reads them', async (t) => {
  const text = 'a{x} # b { }\n plugin_path /x c { d { e } } # }\nf { # }\n} g {';
  t.same(
    sections(text).map(({ name, body_start, body_end }) => [name, text.slice(body_start, body_end).trim()]),
    [
      ['a', 'x'],
      ['c', 'd { e }'],
      ['f', '# }'],
    ],
  );
});

t.test("a user's template keeps what it has", async (t) => {
  const { text, added, warnings } = startupConfig(template, placeholders, [uplink], facts);
  const buffers = 'buffers { buffers-per-numa 131072 }';
  const small = template.replace(buffers, 'buffers {\n  page-size 4K buffers-per-numa 131072 }');
  t.ok(text.startsWith(`${small}\n`), 'apart from the pages, for there are no hugepages');
  const enough = { ...facts, hugepages_bytes: 300 * MiB };
  t.ok(startupConfig(template, placeholders, [uplink], enough).text.startsWith(`${template}\n`));
  const too_few = { ...facts, hugepages_bytes: 290 * MiB };
  t.match(startupConfig(template, placeholders, [uplink], too_few).added[0], {
    section: 'buffers',
    text: 'page-size 4K',
    why: /do not suffice for 131072 buffers/,
  });
  const chosen = template.replace(buffers, 'buffers { page-size 2M }');
  t.ok(startupConfig(chosen, placeholders, [uplink], facts).text.startsWith(`${chosen}\n`));
  t.same(
    added.map(({ section }) => section),
    ['buffers', 'statseg', 'cnat'],
  );
  t.ok(added.every((each) => text.includes(each.text) && each.why.length > 0));
  t.same(warnings, []);

  const own = `${template}\nstatseg { size 1G }\ncnat { session-max 5000 }`;
  t.same(startupConfig(own, placeholders, [], enough), { text: `${own}\n`, added: [], warnings: [] });
  t.match(
    startupConfig(own, placeholders, [], { ...enough, pods_max: 2000 }).added,
    [{ section: 'memory', text: /main-heap-size 3G/ }],
    'many pods need a larger heap',
  );
});

t.test('a template without which VPP could not be reached or waited for is completed', async (t) => {
  const daemon = startupConfig('unix { cli-listen /x } # nodaemon', placeholders, [], facts);
  t.match(daemon.text, /unix \{\n {2}nodaemon cli-listen/);
  t.same(
    daemon.added.map(({ section }) => section),
    ['unix', 'socksvr', 'buffers', 'statseg', 'cnat', 'plugins'],
  );
  t.match(startupConfig('cpu { workers 1 }', placeholders, [], facts).text, /\nunix \{\n {2}nodaemon/);
  const elsewhere = startupConfig(template.replace('vpp-api.sock', 'other.sock'), placeholders, [], facts);
  t.match(elsewhere.warnings, [
    /socksvr opens \/var\/run\/vpp\/other\.sock, but \/var\/run\/vpp\/vpp-api\.sock/,
  ]);
  t.match(startupConfig(`${template} statseg { size 1G }`, placeholders, [], facts).warnings, []);
  t.match(
    startupConfig(
      template.replace('socket-name /var/run/vpp/vpp-api.sock', 'default'),
      placeholders,
      [],
      facts,
    ).warnings,
    [/socksvr opens \/run\/vpp\/api\.sock/],
  );
});

t.test('what a template leaves out and others count on is told', async (t) => {
  const warnings = (from: string | RegExp, to: string, more: Partial<StartupFacts> = {}) =>
    startupConfig(template.replace(from, to), placeholders, [], { ...facts, ...more }).warnings;
  t.same(warnings('', ''), []);
  t.match(warnings(/cli-listen.*/, ''), [
    /unix section has no cli-listen: the subcommand vppctl looks for \/var\/run\/vpp\/cli\.sock/,
  ]);
  t.match(warnings(/cli-listen.*/, 'cli-listen /run/other.sock'), [/listens at \/run\/other\.sock/]);
  t.match(warnings(/exec .*/, ''), [
    /has no exec: CALICOVPP_CONFIG_EXEC_TEMPLATE has no effect; set exec to/,
  ]);
  t.match(warnings(/exec .*/, 'exec /etc/vpp/own.exec'), [/runs \/etc\/vpp\/own\.exec/]);
  t.same(warnings(/exec .*/, '', { has_exec: false }), [], 'where there is nothing to run');
});

t.test(
  'what VPP takes in a cnat section and is of no use with, or does not start with, is told',
  async (t) => {
    const told = (words: string) => cnatWarnings(`unix { nodaemon }\ncnat { ${words} }`);
    t.same(told('session-max 1048576 session-cleanup-timeout 0.01 tcp-max-age 65535 scanner on'), []);
    t.same(cnatWarnings('unix { nodaemon }'), []);
    t.match(told('session-max 0'), [/session-max 0: VPP takes it, and has no sessions/]);
    t.match(told('session-max 16777217'), [/does not start with more than 16777216/]);
    t.match(told('session-cleanup-timeout 0'), [/never forgets a session/]);
    t.match(told('session-max-age 65536'), [/takes it for 0: set at most 65535/]);
    t.match(told('tcp-max-age 86400'), [/takes it for 20864/]);
    t.match(told('session-max 65536 session-max-per-vrf 65537'), [/not start with more than session-max/]);
    t.match(told('session-db-buckets 1024'), [/session-db-buckets: this VPP does not start with it/]);
    t.match(
      startupConfig('cnat { tcp-max-age 86400 }', placeholders, [], facts).warnings.at(-1),
      /tcp-max-age 86400/,
      'and with the rest of the template',
    );
  },
);

t.test('a main thread with workers is not put to sleep', async (t) => {
  const sleeps = (cpu: string) =>
    startupConfig(cpu, placeholders, [], { ...facts, cpus: 2 }).text.includes('poll-sleep-usec');
  t.ok(sleeps(''));
  t.ok(sleeps('cpu { workers 0 }'));
  t.notOk(sleeps('cpu { workers 1 }'));
  t.notOk(sleeps('cpu { main-core 0 corelist-workers 1 }'));
});

t.test('dpdk', async (t) => {
  const { text, added } = startupConfig(template, placeholders, [dpdk_uplink], facts);
  t.match(text, /plugin dpdk_plugin\.so \{ enable \}/);
  t.ok(
    text.endsWith(`dpdk {
  iova-mode va
  no-hugetlb
  link-state-poll-interval 0.5
  dev 0000:00:05.0 {
    num-rx-queues 1
    num-tx-queues 2
    num-rx-desc 512
    num-tx-desc 1024
    tag main-eth0
  }
}
`),
  );
  t.same(added.map(({ section }) => section).slice(-2), ['plugins', 'dpdk']);
  const huge = startupConfig(template, placeholders, [dpdk_uplink], {
    ...facts,
    hugepages_bytes: 1024 * MiB,
  });
  t.notMatch(huge.text, /no-hugetlb|iova-mode/);
  const past = startupConfig(template, placeholders, [dpdk_uplink, { ...dpdk_uplink, past_iommu: true }], {
    ...facts,
    hugepages_bytes: 1024 * MiB,
  });
  t.match(
    past.text,
    /^dpdk \{\n {2}iova-mode pa\n {2}link-state/m,
    'one that goes past the IOMMU has physical addresses',
  );

  // By which pages VPP has its buffers on, and not by how many a node with all its pods would want.
  const few = `${template.replace(/buffers \{[^}]*\}/, '')}\nbuffers { buffers-per-numa 16384 }\n`;
  const some = { ...facts, hugepages_bytes: 128 * MiB };
  t.notMatch(startupConfig(few, placeholders, [dpdk_uplink], some).text, /no-hugetlb|page-size 4K/);
  const small = { ...facts, hugepages_bytes: 0, memory_bytes: 16 * 1024 * MiB };
  const asked = (uplinks: (typeof dpdk_uplink)[]) =>
    Number(/buffers-per-numa (\d+)/.exec(startupConfig(undefined, placeholders, uplinks, small).text)?.[1]);
  t.ok(asked([]) > 65_535 && asked([dpdk_uplink]) < 60_001, 'vfio maps no more pages for one program');
  const many = `${template.replace(/buffers \{[^}]*\}/, '')}\nbuffers { page-size 4K buffers-per-numa 131072 }\n`;
  t.match(startupConfig(many, placeholders, [dpdk_uplink], small).warnings, [/dpdk reaches 60000 of them/]);
  t.same(startupConfig(many, placeholders, [], small).warnings, []);

  const tagged = `${template}\ndpdk { dev 0000:00:05.0 { tag main-eth0 } }`;
  const plenty = { ...facts, hugepages_bytes: 1024 * MiB };
  t.same(startupConfig(tagged, placeholders, [dpdk_uplink], plenty).warnings, []);
  const untagged = startupConfig(tagged.replace('main-eth0', 'x'), placeholders, [dpdk_uplink], plenty);
  t.match(untagged.warnings, [/no device with "tag main-eth0"/]);
  t.notOk(untagged.added.some(({ section }) => section === 'dpdk'));
});

t.test(
  'several uplinks of dpdk, one that is on no PCI bus, and a template that has all plugins off',
  async (t) => {
    const second = { ...dpdk_uplink, interface_name: 'eth1', pci_address: '0000:00:06.0' };
    const { text, added } = startupConfig(template, placeholders, [dpdk_uplink, second], facts);
    t.equal(text.match(/^dpdk \{/gm)?.length, 1, 'VPP reads one section');
    t.match(text, /dev 0000:00:05.0 \{[^}]*tag main-eth0\s*\}\s*dev 0000:00:06.0 \{[^}]*tag main-eth1\s*\}/);
    t.equal(added.filter(({ section }) => section === 'dpdk').length, 1);
    const bare = startupConfig(template, placeholders, [{ ...dpdk_uplink, pci_address: '' }], facts);
    t.match(bare.warnings, [/eth0 is on no PCI bus/]);
    t.notMatch(bare.text, /^dpdk \{/m);
    const off = template.replace(/plugins \{[\s\S]*?\n\}/, 'plugins { plugin default { disable } }');
    t.match(
      startupConfig(off, placeholders, [dpdk_uplink], facts).text,
      /plugin dpdk_plugin.so \{ enable \}/,
    );
  },
);

t.test(
  'a VPP that is not to find a device of DPDK has no plugin that takes network cards of Linux',
  async (t) => {
    const plenty = { ...facts, hugepages_bytes: 1024 * MiB };
    const plugins = (of: string): string =>
      template.replace(/plugins \{[\s\S]*?\n\}/, of && `plugins {\n  ${of}\n}`);
    const off = /plugin dpdk_plugin\.so \{ disable \}/;
    const waits = { ...dpdk_uplink, with_linux: true } as const;
    const known = { ...uplink, pci_address: '0000:00:05.0' };
    const on = [
      '',
      'plugin default { enable }',
      'plugin dpdk_plugin.so { enable }',
      'plugin dpdk_plugin.so { enable skip-version-check }',
      '# plugin dpdk_plugin.so { disable }',
      'plugin default { disable } plugin dpdk_plugin.so { enable }',
    ];
    for (const said of on) {
      for (const each of [uplink, waits]) {
        const { text, added, warnings } = startupConfig(plugins(said), placeholders, [each], plenty);
        const left = text.replace(/#.*/g, '');
        t.match(left, off, said);
        t.equal(left.match(/dpdk_plugin/g)?.length, 1, `${said}: VPP does not start with two words on it`);
        t.ok(added.some(({ why }) => /would take the network cards of Linux/.test(why)));
        t.same(warnings, []);
      }
    }
    t.ok(startupConfig(template, placeholders, [waits], plenty).text.startsWith(`${template}\n`));
    // A section without its plugin is unknown to VPP, which ends.
    const section = 'dpdk { dev 0:0:5.0 { tag main-eth0 } }';
    for (const said of ['plugin dpdk_plugin.so { disable }', 'plugin dpdk_plugin.so { enable }']) {
      const own = `${plugins(said)}\n${section}`;
      const before = startupConfig(own, placeholders, [waits], plenty);
      t.match(before.text, off);
      t.notMatch(before.text, /^dpdk/m, 'which would take the device before Linux has let go of it');
      const now = startupConfig(own, placeholders, [dpdk_uplink], plenty);
      t.match(now.text, /plugin dpdk_plugin\.so \{ enable \}/);
      t.ok(now.text.includes(section), 'as the user has it');
      const other = startupConfig(own, placeholders, [known], plenty);
      t.notMatch(other.text, /^dpdk/m);
      t.match(other.warnings, [
        /names the device of eth0, whose driver is another one.*set vppDriver to dpdk/,
      ]);
    }
    // Beside one that it is to find.
    const mixed = `${plugins('plugin dpdk_plugin.so { enable }')}
dpdk { dev 0000:00:06.0 { rss { ipv4 } tag main-eth1 } dev 0000:00:07.0 dev 0:0:5.0 { tag main-eth0 } }`;
    const second = { ...uplink, interface_name: 'eth1', pci_address: '0000:00:06.0' };
    const third = { ...waits, interface_name: 'eth2', pci_address: '0000:00:07.0' } as const;
    const beside = startupConfig(mixed, placeholders, [dpdk_uplink, second, third], plenty);
    t.match(
      beside.text,
      /^dpdk \{\s+dev 0:0:5\.0 \{ tag main-eth0 \} \}/m,
      'nothing else is taken from Linux',
    );
    t.match(beside.warnings, [/names the device of eth1, whose driver is another one: it is left out there/]);
    // What a user makes with it himself.
    const none = { ...known, driver: 'none' };
    const enabled = plugins('plugin dpdk_plugin.so { enable }');
    for (const own of ['dpdk { dev 0000:00:09.0 }', 'dpdk { no-pci no-vmbus vdev net_tap0 }'])
      t.ok(startupConfig(`${enabled}\n${own}`, placeholders, [none], plenty).text.includes(own), own);
    for (const own of ['vdev net_tap0', 'dev default { num-rx-queues 2 }'])
      for (const each of [none, dpdk_uplink])
        t.match(
          startupConfig(`${enabled}\ndpdk { ${own} }`, placeholders, [each], plenty).text,
          /dpdk \{\n {2}no-pci no-vmbus/,
          'which names no card',
        );
    const dead = startupConfig(`${template}\ndpdk { no-pci }`, placeholders, [uplink], plenty);
    t.match(dead.warnings, [/VPP does not start with that/]);
  },
);

const vpp_bin = process.env.VPP_BIN;

const cases: [name: string, template: string | undefined, more: Partial<StartupFacts>][] = [
  ['the default start-up file is accepted by VPP', undefined, {}],
  ['so is the one of a small machine that keeps cores', undefined, { cpus: 1, core_dumps: true }],
  ['so is an empty template once it is completed', '', {}],
  [
    "so are sections that say VPP's own defaults",
    'cnat { scanner on }\nstatseg { update-interval 10 }\nbuffers { default data-size 2048 }',
    {},
  ],
];

for (const [name, user_template, more] of cases) {
  t.test(name, { skip: vpp_bin ? false : 'needs VPP_BIN' }, async (t) => {
    const run_dir = mkdtempSync(join(tmpdir(), 'startup-config-'));
    t.teardown(() => rmSync(run_dir, { recursive: true }));
    const at = (file: string) => join(run_dir, file);
    const paths = {
      run_dir,
      startup_exec: at('startup.exec'),
      api_socket: at('vpp-api.sock'),
      cli_socket: at('cli.sock'),
      stats_socket: at('stats.sock'),
      vpp_pid_file: at('vpp.pid'),
    };
    const small = { ...facts, ...more, pods_max: 1, memory_bytes: 0, paths };
    writeFileSync(paths.startup_exec, startupExec('show version', placeholders));
    writeFileSync(at('startup.conf'), startupConfig(user_template, placeholders, [], small).text);
    const vpp = spawn('unshare', ['--net', vpp_bin!, '-c', at('startup.conf')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let log = '';
    vpp.stderr.on('data', (chunk: Buffer) => {
      log += chunk;
    });
    const gone = new AbortController();
    const ended = once(vpp, 'exit').finally(() => gone.abort());
    const sockets = [paths.api_socket, paths.cli_socket, ...(user_template ? [] : [paths.stats_socket])];
    await until(run_dir, gone.signal, () => sockets.every((path) => existsSync(path)));
    t.ok(
      sockets.every((path) => existsSync(path)),
      log,
    );
    vpp.kill('SIGKILL');
    await ended;
  });
}

/** Resolves once the condition holds, or nothing can change any more; it is looked at whenever something happens in the directory. */
async function until(directory: string, ended: AbortSignal, condition: () => boolean): Promise<void> {
  const watcher = watch(directory);
  try {
    while (!condition()) await once(watcher, 'change', { signal: ended });
  } catch (error) {
    if (!ended.aborted) throw error;
  } finally {
    watcher.close();
  }
}

t.test('what a host stack wants beside its own section, unless the user says otherwise', async (t) => {
  t.notMatch(defaultTemplate(facts), /^(tcp|punt) /m, 'no host stack');
  t.match(defaultTemplate({ ...facts, vcl: true }), 'punt {\n  socket /var/run/vpp/punt.sock\n}');
  t.match(defaultTemplate({ ...facts, vcl: true }), 'tcp {\n  mtu 1360\n}');
  const own = startupConfig(`${template}\ntcp { mtu 8900 }`, placeholders, [], { ...facts, vcl: true });
  t.notMatch(own.text, 'mtu 1360');
  const completed = startupConfig(template, placeholders, [], { ...facts, vcl: true });
  t.ok(
    completed.added.some(({ section }) => section === 'tcp'),
    'a template without the section is completed',
  );
});
