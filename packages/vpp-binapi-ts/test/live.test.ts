import t from 'tap';
import { create_loopback, sw_interface_dump } from '../src/generated/interface.js';
import { type ip_route, ip_route_add_del, ip_route_dump, ip_table_add_del_v2 } from '../src/generated/ip.js';
import { control_ping, messages as memclnt_messages } from '../src/generated/memclnt.js';
import { mss_clamp_dir, mss_clamp_enable_disable, mss_clamp_get } from '../src/generated/mss_clamp.js';
import { show_version } from '../src/generated/vpe.js';
import { type Client, connect, unixTransport } from '../src/index.js';
import { type LiveVpp, startVpp } from './live-vpp.js';

const binary = process.env.VPP_BIN;
const skip =
  binary === undefined
    ? 'needs VPP_BIN, the path of a vpp executable'
    : process.getuid?.() === 0
      ? false
      : 'needs root';

/** A route that drops, so that it needs no interface. */
const route = (table_id: number, prefix: string): ip_route => ({
  table_id,
  stats_index: 0,
  prefix,
  paths: [
    {
      sw_if_index: 0xffffffff,
      table_id: 0,
      rpf_id: 0xffffffff,
      weight: 1,
      preference: 0,
      type: 'FIB_API_PATH_TYPE_DROP',
      flags: 0,
      proto: 'FIB_API_PATH_NH_PROTO_IP4',
      nh: { address: '0.0.0.0', via_label: 0, obj_id: 0, classify_table_index: 0 },
      label_stack: [],
    },
  ],
});

t.test('against a real VPP', { skip }, async (t) => {
  let vpp: LiveVpp;
  let client: Client;
  t.before(async () => {
    vpp = await startVpp(binary!);
    client = await connect({ transport: unixTransport(vpp.socket), name: 'live-test' });
  });
  t.teardown(() => vpp.stop());

  t.test('a socket that is not there is told with its path', async (t) => {
    const connecting = connect({ transport: unixTransport(`${vpp.socket}.none`), name: 'live-test' });
    await t.rejects(connecting, { code: 'disconnected', message: new RegExp(`ENOENT.*${vpp.socket}.none`) });
  });

  t.test('the version, the interfaces and the compatibility are told', async (t) => {
    const { version, program } = await client.request(show_version, {});
    t.equal(program, 'vpe');
    t.match(version, /^\d\d\.\d\d/);
    t.match(await client.dump(sw_interface_dump, { name_filter_valid: false, name_filter: '' }), [
      { sw_if_index: 0, interface_name: 'local0' },
    ]);
    t.same(client.compatible([...memclnt_messages, show_version, ip_route_add_del]).mismatches, []);
  });

  t.test('a stream comes whole, however often VPP interrupts it', async (t) => {
    // VPP interrupts itself after 1 ms: this many have been seen to take it longer.
    const created = await Promise.all(
      Array.from({ length: 4000 }, () =>
        client.request(create_loopback, { mac_address: '00:00:00:00:00:00' }),
      ),
    );
    const rx = {
      ipv4_mss: 1200,
      ipv6_mss: 0,
      ipv4_direction: mss_clamp_dir.MSS_CLAMP_DIR_RX,
      ipv6_direction: 0,
    };
    await Promise.all(
      created.map(({ sw_if_index }) => client.request(mss_clamp_enable_disable, { sw_if_index, ...rx })),
    );
    const { details } = await client.stream(mss_clamp_get, { cursor: 0, sw_if_index: 0xffffffff });
    const clamped = new Set(
      details.filter(({ ipv4_mss }) => ipv4_mss === 1200).map(({ sw_if_index }) => sw_if_index),
    );
    t.equal(clamped.size, created.length);
  });

  t.test('10,000 pipelined routes are all there, in one dump', async (t) => {
    const table_id = 7;
    await client.request(ip_table_add_del_v2, {
      table: { table_id, is_ip6: false, name: 'live' },
      create_mfib: false,
      is_add: true,
    });
    const prefixes = Array.from({ length: 10_000 }, (_, i) => `10.7.${i >> 8}.${i & 255}/32`);
    await Promise.all(
      prefixes.map((prefix) =>
        client.request(ip_route_add_del, { is_multipath: false, route: route(table_id, prefix) }),
      ),
    );
    const table = { table_id, is_ip6: false, name: '' };
    const dumped = await client.dump(ip_route_dump, { table });
    const left = new Set(dumped.map(({ route }) => route.prefix));
    const each = ({ route }: { route: ip_route }) => left.delete(route.prefix);
    const found = new Set(left);
    t.equal(await client.dump(ip_route_dump, { table }, { each }), dumped.length);
    t.equal(left.size, 0);
    t.same(
      prefixes.filter((prefix) => !found.has(prefix)),
      [],
    );
    t.match(client.stats(), { in_flight: [], waiting: 0, late: 0 });
  });

  t.test('a table that does not exist is refused with the name that VPP gives to the error', async (t) => {
    await t.rejects(
      client.request(ip_route_add_del, { is_multipath: false, route: route(4711, '10.0.0.1/32') }),
      {
        code: 'retval',
        retval: -3,
        retval_name: 'VNET_API_ERROR_NO_SUCH_FIB',
      },
    );
  });

  t.test('connections that come and go leave nothing behind that stops VPP', async () => {
    // 16 connections that VPP has not noticed the end of keep its main loop from all other work.
    for (let i = 0; i < 20; i++) {
      const visitor = await connect({ transport: unixTransport(vpp.socket), name: `visitor-${i}` });
      await Promise.all(Array.from({ length: 5000 }, () => visitor.request(control_ping, {})));
      visitor.close();
    }
    await client.request(show_version, {}, { deadline_ms: 2000 });
  });

  t.test('a VPP that is killed is noticed by all that is pending', async (t) => {
    // Stopped first, so that the request cannot be answered before the kill.
    vpp.process.kill('SIGSTOP');
    const pending = client.request(show_version, {});
    setImmediate(() => vpp.process.kill('SIGKILL'));
    await t.rejects(pending, { code: 'disconnected', message_name: 'show_version', sent: true });
    t.match(await client.closed, { code: 'disconnected' });
  });
});
