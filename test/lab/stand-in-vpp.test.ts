import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type Client, connect, RetvalError, unixTransport } from 'vpp-binapi-ts';
import { cnat_set_snat_addresses_v2, feature_cnat_enable_disable } from 'vpp-binapi-ts/cnat';
import type { fib_path } from 'vpp-binapi-ts/fib_types';
import {
  sw_interface_dump,
  sw_interface_event,
  sw_interface_set_flags,
  sw_interface_set_table,
  want_interface_events,
} from 'vpp-binapi-ts/interface';
import { ip_route_add_del_v2, ip_table_add_del_v2, ip_table_dump } from 'vpp-binapi-ts/ip';
import { control_ping } from 'vpp-binapi-ts/memclnt';
import { tap_create_v3, tap_delete_v2 } from 'vpp-binapi-ts/tapv2';
import { show_version } from 'vpp-binapi-ts/vpe';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { RecordedDevices } from '../../lab/vpp/devices.js';
import { control, programEnvironment, writeStandInBinary } from '../../lab/vpp/program.js';
import { type StandInOptions, startStandInVpp } from '../../lab/vpp/stand-in.js';
import { parseStartupConf } from '../../lab/vpp/startup-conf.js';
import { TunDevices } from '../../lab/vpp/tun-devices.js';

// A connection in memory keeps no process alive.
const alive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(alive));

async function started(t: { teardown(run: () => void): unknown }, options: StandInOptions = {}) {
  const vpp = await startStandInVpp(options);
  t.teardown(() => vpp.close());
  const client = await connect({ transport: vpp.transport(), name: 'test', timers: new TurnedClock() });
  t.teardown(() => client.close());
  return { vpp, client };
}

/** What VPP said no with. */
async function refusal(asked: Promise<unknown>): Promise<RetvalError> {
  try {
    await asked;
  } catch (error) {
    if (error instanceof RetvalError) return error;
    throw error;
  }
  throw new Error('not refused');
}

const ping = (client: Client) => client.request(control_ping, {});
const version = (client: Client) => client.request(show_version, {});
const tables = (client: Client) => client.dump(ip_table_dump, {});
const bind = (client: Client, sw_if_index: number, vrf_id: number) =>
  client.request(sw_interface_set_table, { sw_if_index, is_ipv6: false, vrf_id });
const addTable = (client: Client, table_id: number) =>
  client.request(ip_table_add_del_v2, {
    table: { table_id, is_ip6: false, name: `t${table_id}` },
    create_mfib: true,
    is_add: true,
  });

const tap = (host_namespace: string, host_if_name: string, more: { readonly tap_flags?: number } = {}) => ({
  use_random_mac: true,
  mac_address: '00:00:00:00:00:00',
  num_rx_queues: 1,
  num_tx_queues: 1,
  rx_ring_sz: 1024,
  tx_ring_sz: 1024,
  host_mtu_set: true,
  host_mtu_size: 1400,
  host_mac_addr_set: true,
  host_mac_addr: '02:11:22:33:44:55',
  host_ip4_prefix_set: false,
  host_ip4_prefix: '0.0.0.0/0',
  host_ip6_prefix_set: false,
  host_ip6_prefix: '::/0',
  host_ip4_gw_set: false,
  host_ip4_gw: '0.0.0.0',
  host_ip6_gw_set: false,
  host_ip6_gw: '::',
  tap_flags: 0,
  host_namespace_set: true,
  host_namespace,
  host_if_name_set: true,
  host_if_name,
  host_bridge_set: false,
  host_bridge: '',
  tag: host_if_name,
  ...more,
});
const tun_persistent = { tap_flags: 61 };

function via(sw_if_index: number, address: string): fib_path {
  return {
    sw_if_index,
    table_id: 0,
    rpf_id: 0,
    weight: 1,
    preference: 0,
    type: 'FIB_API_PATH_TYPE_NORMAL',
    flags: 0,
    proto: 'FIB_API_PATH_NH_PROTO_IP4',
    nh: { address, via_label: 0, obj_id: 0, classify_table_index: 0 },
    label_stack: [],
  };
}
const route = (client: Client, is_add: boolean, prefix: string, paths: readonly fib_path[]) =>
  client.request(ip_route_add_del_v2, {
    is_add,
    is_multipath: false,
    route: { table_id: 0, stats_index: 0, prefix, src: 0, paths },
  });

t.test('faults strike when they are told to', async (t) => {
  t.test('close: the connection breaks, the state stays, the next connection works', async (t) => {
    const { vpp, client } = await started(t);
    await addTable(client, 7);
    vpp.fault({ fault: 'close', at: { message: 'show_version', nth: 2 } });
    await version(client);
    await t.rejects(version(client), { code: 'disconnected' });
    const next = await connect({ transport: vpp.transport(), name: 'next' });
    t.match(await tables(next), [{}, { table: { table_id: 7 } }, {}]);
    next.close();
  });

  t.test('die: it ends, and takes no connection any more', async (t) => {
    const { vpp, client } = await started(t);
    vpp.fault({ fault: 'die', at: { nth: 3 } });
    await ping(client);
    await ping(client);
    await t.rejects(ping(client), { code: 'disconnected' });
    t.match(await vpp.ended, { how: 'died', reason: 'told to' });
    await t.rejects(connect({ transport: vpp.transport(), name: 'late' }), { code: 'disconnected' });
  });

  t.test('hang: nothing is answered, the connection lives', async (t) => {
    const clock = new TurnedClock();
    const vpp = await startStandInVpp();
    t.teardown(() => vpp.close());
    const client = await connect({
      transport: vpp.transport(),
      name: 'test',
      timers: clock,
      deadline_ms: 500,
    });
    vpp.fault({ fault: 'hang', at: { message: 'control_ping' } });
    const refused = t.rejects(ping(client), { code: 'deadline' });
    await clock.advance(500);
    await refused;
    t.equal(vpp.hung, 'told to');
    const other = connect({ transport: vpp.transport(), name: 'other', timers: clock, deadline_ms: 500 });
    const unanswered = t.rejects(other, { code: 'deadline' });
    await clock.advance(500);
    await unanswered;
    client.close();
  });

  t.test('refuse: so often, then as ever; what was refused was not done', async (t) => {
    const { vpp, client } = await started(t);
    vpp.fault({ fault: 'refuse', message: 'ip_table_add_del_v2', retval: -1, times: 2 });
    t.match(await refusal(addTable(client, 7)), { retval: -1 });
    t.match(await refusal(addTable(client, 7)), { retval: -1 });
    t.equal((await tables(client)).length, 2);
    await addTable(client, 7);
    t.equal((await tables(client)).length, 3);
    t.equal(vpp.counts.get('ip_table_add_del_v2'), 3);
  });

  t.test('a refused reply has the other fields that VPP sends', async (t) => {
    const { vpp, client } = await started(t);
    vpp.fault({ fault: 'refuse', message: 'tap_create_v3', retval: -12 });
    t.match(await refusal(client.request(tap_create_v3, tap('/pod', 'eth0'))), {
      retval: -12,
      reply: { sw_if_index: 0xffff_ffff },
    });
    vpp.clearFaults();
    await client.request(tap_create_v3, tap('/pod', 'eth0'));
  });

  t.test('delay: the message and all behind it wait, in their order', async (t) => {
    const clock = new TurnedClock();
    const { vpp, client } = await started(t, { clock });
    vpp.fault({ fault: 'delay', at: { message: 'show_version' }, ms: 1000 });
    const done: string[] = [];
    const asked = [
      ping(client).then(() => done.push('before')),
      version(client).then(() => done.push('delayed')),
      ping(client).then(() => done.push('behind')),
    ];
    await clock.advance(999);
    t.same(done, ['before']);
    await clock.advance(1);
    await Promise.all(asked);
    t.same(done, ['before', 'delayed', 'behind']);
  });

  t.test('drop_reply: done, and not answered', async (t) => {
    const clock = new TurnedClock();
    const vpp = await startStandInVpp();
    t.teardown(() => vpp.close());
    const client = await connect({
      transport: vpp.transport(),
      name: 'test',
      timers: clock,
      deadline_ms: 500,
    });
    vpp.fault({ fault: 'drop_reply', at: { message: 'ip_table_add_del_v2' } });
    const unanswered = t.rejects(addTable(client, 7), { code: 'deadline' });
    await clock.advance(500);
    await unanswered;
    t.equal((await tables(client)).length, 3);
    client.close();
  });

  t.test('garbage and truncate end the connection', async (t) => {
    for (const fault of ['garbage', 'truncate'] as const) {
      const { vpp, client } = await started(t);
      vpp.fault({ fault, at: { message: 'show_version' } });
      const cause = fault === 'garbage' ? { cause: { code: 'malformed' } } : {};
      await t.rejects(version(client), { code: 'disconnected', ...cause });
    }
  });

  t.test('another life numbers its messages otherwise', async (t) => {
    const { client } = await started(t, { message_id_offset: 1000 });
    t.match(await version(client), { program: 'vpe' });
  });

  t.test('a plugin that is not loaded has no messages', async (t) => {
    const { client } = await started(t, { without: ['ip_ttl_fixup_configure', 'show_version'] });
    await t.rejects(version(client), { code: 'incompatible' });
  });
});

t.test('what a dump does not show', async (t) => {
  t.test('a route added again through an interface with a reused index drops for ever', async (t) => {
    const { vpp, client } = await started(t);
    const table = vpp.state.fib.table(4, 0)!;
    const path = via(1, '10.1.0.5');
    await client.request(tap_create_v3, tap('/pod', 'eth0'));
    await route(client, true, '10.1.0.5/32', [path]);
    t.notOk(vpp.state.fib.isDead(table, '10.1.0.5/32'));
    await client.request(tap_delete_v2, { sw_if_index: 1 });
    await client.request(tap_create_v3, tap('/pod', 'eth0'));
    await route(client, true, '10.1.0.5/32', [path]);
    t.ok(vpp.state.fib.isDead(table, '10.1.0.5/32'));
    await route(client, false, '10.1.0.5/32', []);
    await route(client, true, '10.1.0.5/32', [path]);
    t.notOk(vpp.state.fib.isDead(table, '10.1.0.5/32'));
  });

  t.test('a tap without buffers is made, and receives nothing', async (t) => {
    const { vpp, client } = await started(t, { buffers: 1500 });
    await client.request(tap_create_v3, tap('/pod', 'eth0'));
    await client.request(tap_create_v3, tap('/pod', 'eth1'));
    t.same(
      [1, 2].map((index) => vpp.state.interfaces.get(index).tap?.starved),
      [false, true],
    );
    await client.request(tap_delete_v2, { sw_if_index: 1 });
    t.equal(vpp.state.buffers_used, 0);
  });

  t.test(
    'an interface bound before the first cnat call has no sessions, and the next bind makes VPP spin',
    async (t) => {
      const { vpp, client } = await started(t);
      await addTable(client, 7);
      await addTable(client, 8);
      await client.request(tap_create_v3, tap('/pod', 'eth0'));
      await client.request(tap_create_v3, tap('/pod', 'eth1'));
      await bind(client, 1, 7);
      await client.request(cnat_set_snat_addresses_v2, {
        snat_ip4: '10.0.0.2',
        snat_ip6: 'fd00::2',
        sw_if_index: 0xffff_ffff,
        fwd_fib_index: 0,
        ret_fib_index: 0,
        flags: 3,
      });
      t.notOk(vpp.state.cnat.hasSessions(vpp.state.fib.table(4, 7)!));
      t.ok(vpp.state.cnat.hasSessions(vpp.state.fib.table(4, 8)!));
      await bind(client, 2, 8);
      await client.request(feature_cnat_enable_disable, { sw_if_index: 1, enable_disable: true });
      await client.request(sw_interface_set_flags, { sw_if_index: 1, flags: 1 });
      const unanswered = t.rejects(bind(client, 2, 0));
      for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      t.match(vpp.hung, /spins/);
      client.close();
      await unanswered;
    },
  );

  t.test('interface events come to those who asked', async (t) => {
    const { client } = await started(t);
    const events: unknown[] = [];
    client.on(sw_interface_event, (event) => events.push(event));
    await client.request(tap_create_v3, tap('/pod', 'eth0'));
    await client.request(sw_interface_set_flags, { sw_if_index: 1, flags: 1 });
    await client.request(want_interface_events, { enable_disable: 1, pid: 42 });
    await client.request(sw_interface_set_flags, { sw_if_index: 1, flags: 0 });
    await client.request(tap_delete_v2, { sw_if_index: 1 });
    t.match(events, [
      { pid: 42, sw_if_index: 1, flags: 2, deleted: false },
      { pid: 42, sw_if_index: 1, deleted: true },
    ]);
  });
});

t.test('devices outlive a VPP only when they are persistent', async (t) => {
  const devices = new RecordedDevices();
  const first = await started(t, { devices });
  await first.client.request(tap_create_v3, tap('/pod', 'eth0', tun_persistent));
  await first.client.request(tap_create_v3, tap('/pod', 'eth1'));
  first.vpp.kill();
  t.match(devices.in('/pod'), [{ name: 'eth0' }]);
  const second = await started(t, { devices });
  await second.client.request(tap_create_v3, tap('/pod', 'eth0', tun_persistent));
  t.match(await refusal(second.client.request(tap_create_v3, tap('/pod', 'eth0'))), { retval: -13 });
  await second.client.request(tap_delete_v2, { sw_if_index: 1 });
  t.same(devices.in('/pod'), []);
});

t.test('real devices', { skip: canUseNetns() ?? false }, async (t) => {
  const lab = new NetnsLab();
  t.teardown(() => lab.close());
  const pod = lab.namespace('pod');
  const inside = lab.open('pod');
  const { vpp, client } = await started(t, { devices: new TunDevices() });
  await client.request(tap_create_v3, tap(pod, 'eth0'));
  await client.request(tap_create_v3, tap(pod, 'eth1', tun_persistent));
  t.match(inside.link('eth0'), { mac: '02:11:22:33:44:55', mtu: 1400, up: true });
  t.match(inside.link('eth1'), { mtu: 1400, up: true });
  await client.request(tap_delete_v2, { sw_if_index: 1 });
  t.equal(inside.link('eth0'), undefined);
  vpp.kill();
  t.ok(inside.link('eth1'), 'a persistent one stays');
  const next = await started(t, { devices: new TunDevices() });
  await next.client.request(tap_create_v3, tap(pod, 'eth1', tun_persistent));
  await next.client.request(tap_delete_v2, { sw_if_index: 1 });
  t.equal(inside.link('eth1'), undefined);
});

t.test('the start-up file', async (t) => {
  t.match(
    parseStartupConf(`unix { nodaemon runtime-dir /run/a pidfile /run/a/pid exec /etc/a.exec # socket-name x
      cli-listen /run/a/cli.sock }
      buffers { buffers-per-numa 32768 }`),
    { api_socket: '/run/a/api.sock', pid_file: '/run/a/pid', exec: '/etc/a.exec', buffers: 32768 },
  );
  t.equal(parseStartupConf('socksvr { socket-name /a.sock }').api_socket, '/a.sock');
  t.match(parseStartupConf('punt { }'), { punt_socket: false });
  t.match(parseStartupConf('punt { socket /a.sock }'), { punt_socket: true });
  t.throws(() => parseStartupConf('unix { }\nbufers { }'), /unknown input `bufers'/);
});

t.test('the program starts like VPP, is steered by its control socket, and dies as VPP does', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'stand-in-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const at = (name: string) => join(directory, name);
  const conf = at('startup.conf');
  writeFileSync(conf, `unix { nodaemon pidfile ${at('pid')} }\nsocksvr { socket-name ${at('api.sock')} }\n`);
  const binary = writeStandInBinary(directory);
  const environment = programEnvironment({
    control: at('control.sock'),
    faults: [{ fault: 'refuse', message: 'show_version', retval: -9, times: 1 }],
  });

  const start = async () => {
    const child = spawn(binary, ['-c', conf], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    await new Promise<void>((resolve, reject) => {
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (said.includes('no packets pass')) resolve();
      });
      child.once('exit', () => reject(new Error(said)));
    });
    const client = await connect({ transport: unixTransport(at('api.sock')), name: 'test' });
    return { child, exited, client };
  };

  t.test('faults from the environment and from the control socket', async (t) => {
    const { child, exited, client } = await start();
    t.equal(Number(readFileSync(at('pid'), 'utf8')), child.pid);
    t.match(await ping(client), { vpe_pid: child.pid });
    t.match(await refusal(version(client)), { retval: -9 });
    t.match(await version(client), { program: 'vpe' });
    t.match(await control(at('control.sock'), { counts: true }), { show_version: 2, control_ping: 1 });
    t.match(
      await control(at('control.sock'), { set: { fault: 'die', at: { message: 'sw_interface_dump' } } }),
      {
        ok: true,
      },
    );
    await t.rejects(client.dump(sw_interface_dump, { name_filter_valid: false, name_filter: '' }));
    t.equal(await exited, 139);
  });

  t.test('SIGINT ends it, unless it spins', async (t) => {
    const { child, exited, client } = await start();
    client.close();
    child.kill('SIGINT');
    t.equal(await exited, 0);
    t.notOk(existsSync(at('pid')));
  });

  t.test('a start-up file that VPP would not take', async (t) => {
    writeFileSync(conf, 'nonsense { }\n');
    await t.rejects(start(), { message: /unknown input `nonsense'/ });
  });
});
