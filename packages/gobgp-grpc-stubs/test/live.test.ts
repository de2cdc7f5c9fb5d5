import { readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import t, { type Test } from 'tap';
import {
  CancelledError,
  families,
  type Gobgp,
  IncompatibleError,
  type Path,
  type PathInput,
  type Peer,
  type PeerInput,
  RefusedError,
  type WatchEvent,
} from '../src/index.js';
import { all_families, announced, asn, prefix4, prefix6 } from './announced.js';
import { type Binary, Daemon, findGobgpd, freePort, until } from './daemon.js';

/** One scenario, played by real daemons: two of 3.x, two of 4.x, and one of each. */

const { ipv4_unicast, ipv6_unicast } = families;
const password = 'correct horse battery staple';

const left = '127.0.0.2';
const right = '127.0.0.3';

const restart_time = 120;

const peerOf = (neighbor_address: string, remote_port: number, local_address: string): PeerInput => ({
  conf: { neighbor_address, peer_asn: asn, auth_password: password },
  transport: { remote_port, local_address },
  timers: {
    config: { connect_retry: 1, hold_time: 30, keepalive_interval: 10, idle_hold_time_after_reset: 1 },
  },
  graceful_restart: { enabled: true, restart_time, notification_enabled: true },
  afi_safis: all_families.map((family) => ({
    config: { family, enabled: true },
    mp_graceful_restart: { config: { enabled: true } },
  })),
});

async function peerAt(gobgp: Gobgp, address: string): Promise<Peer> {
  for await (const { peer } of gobgp.listPeer({ address })) return peer;
  throw new Error(`no peer ${address}`);
}

const sessionOf = async (gobgp: Gobgp, address: string) =>
  (await peerAt(gobgp, address)).state!.session_state;

async function pathsOf(
  gobgp: Gobgp,
  family: PathInput['family'],
  table: 'global' | 'adj_in' = 'global',
  name = '',
) {
  const paths: Path[] = [];
  for await (const { destination } of gobgp.listPath({ family, table_type: table, name }))
    paths.push(...destination.paths);
  return paths;
}

/** The attributes by their type, so that the order in which they come does not matter. */
const byType = (attributes: Iterable<{ readonly type: string }>) =>
  Object.fromEntries([...attributes].map((attribute) => [attribute.type, attribute]));

/** Reads events in the background, and waits for one. */
class Watcher {
  readonly events: WatchEvent[] = [];
  readonly ended: Promise<unknown>;
  readonly #abort = new AbortController();
  #wake: () => void = () => undefined;

  constructor(gobgp: Gobgp, watched: Parameters<Gobgp['watch']>[0]) {
    this.ended = (async () => {
      for await (const event of gobgp.watch(watched, { signal: this.#abort.signal })) {
        this.events.push(event);
        this.#wake();
      }
    })().catch((error: unknown) => {
      this.#wake();
      return error;
    });
  }

  /** The first event from the `from`th that fits. */
  async event(fits: (event: WatchEvent) => boolean, from = 0): Promise<WatchEvent> {
    const limit = AbortSignal.timeout(60_000);
    for (;;) {
      const found = this.events.slice(from).find(fits);
      if (found !== undefined) return found;
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve;
        limit.addEventListener('abort', () => reject(new Error(`no such event: ${fits}`)), { once: true });
      });
    }
  }

  async stop(): Promise<unknown> {
    this.#abort.abort();
    return await this.ended;
  }
}

const pathTo = (prefix: string, withdrawn: boolean) => (event: WatchEvent) =>
  event.type === 'paths' &&
  event.paths.some(
    ({ nlri, is_withdraw }) => nlri.type === 'prefix' && nlri.prefix === prefix && is_withdraw === withdrawn,
  );

/** How often the kernel dropped a segment without the signature that its socket demands. */
function unsigned(): number {
  const [names = '', numbers = ''] = readFileSync('/proc/net/netstat', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('TcpExt'));
  return Number(numbers.split(' ')[names.split(' ').indexOf('TCPMD5NotFound')]);
}

async function scenario(t: Test, one: Binary, other: Binary): Promise<void> {
  const a = new Daemon(one);
  const b = new Daemon(other);
  t.teardown(async () => {
    if (!t.passing()) t.comment(a.tail(), b.tail());
    await a.remove();
    await b.remove();
  });
  const [port_a, port_b] = [await freePort(left), await freePort(right)];
  const port6_a = port_a;
  const startA = { asn, router_id: left, listen_port: port_a, listen_addresses: [left, '::1'] };
  const startB = { asn, router_id: right, listen_port: port_b, listen_addresses: [right, '::1'] };

  let ga = await a.start();
  const gb = await b.start();

  await t.test('before it is started', async (t) => {
    t.match(await ga.getBgp(), { global: { asn: 0, router_id: '' } });
    await t.rejects(
      ga.watch({ best: true }).next(),
      { name: 'RefusedError', message: /BGP is not started/ },
      'a watch would have no beginning',
    );
    await t.rejects(ga.addPath({ path: announced[0]!.path }), { name: 'RefusedError', rpc: 'AddPath' });
  });

  await ga.startBgp({ global: startA });
  await gb.startBgp({ global: startB });
  t.match(await ga.getBgp(), { global: startA });

  const watcher = new Watcher(gb, { peers: true, best: true, end_of_rib: gb.dialect === 4 });
  await watcher.event(({ type }) => type === 'paths_complete');
  t.strictSame(
    watcher.events.map(({ type }) => type),
    ['peers_complete', 'paths_complete'],
    'an empty beginning has an end',
  );

  await t.test('a session with MD5 comes up, and is told', async (t) => {
    await ga.addPath({ path: announced[0]!.path });
    await ga.addPeer({ peer: peerOf(right, port_b, left) });
    await gb.addPeer({ peer: peerOf(left, port_a, right) });
    const up = await watcher.event(
      ({ type, ...event }) => 'peer' in event && event.peer.state?.session_state === 'established',
    );
    t.match(up, {
      type: 'peer',
      initial: false,
      peer: {
        conf: { neighbor_address: left, peer_asn: asn },
        state: { router_id: left, admin_state: 'up' },
      },
    });
    await until('established at both ends', async () => (await sessionOf(ga, right)) === 'established');
    const peer = await peerAt(ga, right);
    t.match(peer, {
      conf: { neighbor_address: right, peer_asn: asn, type: 'internal' },
      timers: { config: { hold_time: 30 }, state: { negotiated_hold_time: 30 } },
      graceful_restart: { enabled: true, restart_time, notification_enabled: true },
    });
    t.ok(Math.abs(Date.now() - peer.timers!.state!.uptime) < 60_000, 'a time is a time');
    t.strictSame(
      peer.state!.remote_cap.filter(({ type }) => type === 'multi_protocol'),
      all_families.map((family) => ({ type: 'multi_protocol', family })),
    );
    const [graceful] = peer.state!.remote_cap.filter(({ type }) => type === 'graceful_restart');
    t.match(graceful, { time: restart_time, tuples: all_families.map((family) => ({ family })) });

    // From the peer's address the kernel takes nothing that is not signed.
    const before = unsigned();
    const stranger = connectTcp({ host: left, port: port_a, localAddress: right });
    stranger.on('error', () => undefined);
    await until('an unsigned segment is dropped', async () => unsigned() > before);
    t.ok(stranger.connecting);
    stranger.destroy();
  });

  await t.test('paths of every family arrive with their attributes', async (t) => {
    await ga.addPathStream(announced.slice(1).map(({ path }) => path));
    for (const { path, arrives } of announced) {
      const name = `${path.family.afi} ${path.family.safi}`;
      const paths = await until(`a path of ${name}`, async () => {
        const all = await pathsOf(gb, path.family);
        return all.length > 0 && all;
      });
      t.equal(paths.length, 1, name);
      const [found] = paths;
      t.match(found, {
        nlri: arrives ?? path.nlri,
        family: path.family,
        neighbor_ip: left,
        source_asn: asn,
        best: true,
        stale: false,
      });
      const sent = byType(path.pattrs!);
      const came = byType(found!.pattrs);
      // Outside IPv4 unicast GoBGP moves the next hop into MP_REACH, and MP_REACH alone says less of its NLRI.
      const next_hop =
        came.mp_reach === undefined
          ? came.next_hop
          : { type: 'next_hop', next_hop: (came.mp_reach as never as { next_hops: string[] }).next_hops[0] };
      const wanted =
        sent.mp_reach === undefined ? sent.next_hop : { type: 'next_hop', next_hop: '2001:db8::1' };
      t.strictSame(next_hop, wanted, `${name}: next hop`);
      for (const type of Object.keys(sent).filter((type) => type !== 'next_hop' && type !== 'mp_reach'))
        t.match(came[type], sent[type]!, `${name}: ${type}`);
    }
    const local = await pathsOf(ga, ipv4_unicast);
    t.match(local, [{ neighbor_ip: '', source_id: '', best: true }], 'our own has no neighbour');
    t.match(await gb.getTable({ family: ipv4_unicast }), { num_destination: 1, num_path: 1 });
    t.match(await pathsOf(gb, ipv4_unicast, 'adj_in', left), [{ nlri: prefix4 }]);
    await watcher.event(pathTo(prefix4.prefix, false));
    if (gb.dialect === 4) {
      const { neighbor_ip } = (await watcher.event(({ type }) => type === 'end_of_rib')) as {
        neighbor_ip: string;
      };
      t.equal(neighbor_ip, left);
    }
  });

  await t.test('a watch that begins later has all of it in its beginning', async (t) => {
    const late = new Watcher(gb, { peers: true, best: true });
    await late.event(({ type }) => type === 'paths_complete');
    const peers = late.events.filter((event) => event.type === 'peer');
    t.match(peers, [
      { initial: true, peer: { state: { session_state: 'established', neighbor_address: left } } },
    ]);
    const paths = late.events.flatMap((event) => (event.type === 'paths' ? event.paths : []));
    t.ok(late.events.every((event) => event.type !== 'paths' || event.initial));
    t.strictSame(
      new Set(paths.map(({ nlri }) => nlri.type)),
      new Set(['prefix', 'labeled_vpn_ip_prefix', 'sr_policy']),
    );
    t.equal(paths.length, announced.length);
    const end = (await late.stop()) as CancelledError;
    t.ok(end instanceof CancelledError);
    t.equal(end.rpc, 'WatchEvent');
  });

  await t.test('what is withdrawn is told', async (t) => {
    const more = { ...announced[0]!.path, nlri: { ...prefix4, prefix: '10.1.3.0' } };
    const { uuid } = await ga.addPath({ path: more });
    t.equal(uuid.length, 16);
    await watcher.event(pathTo('10.1.3.0', false));
    await ga.deletePath({ family: ipv4_unicast, path: more });
    await watcher.event(pathTo('10.1.3.0', true));
    await ga.addPath({ path: { ...more, nlri: { ...prefix4, prefix: '10.1.4.0' } } });
    await watcher.event(pathTo('10.1.4.0', false));
    const [found] = (await pathsOf(ga, ipv4_unicast)).filter(
      ({ nlri }) => nlri.type === 'prefix' && nlri.prefix === '10.1.4.0',
    );
    await ga.deletePath({ family: ipv4_unicast, path: found! });
    await watcher.event(pathTo('10.1.4.0', true));
    t.pass('and so by what ListPath says of it');
    await ga.deletePath({ family: ipv4_unicast, path: more });
    t.pass('twice does no harm');
  });

  await t.test('policies', async (t) => {
    const set = {
      defined_type: 'prefix',
      name: 'few',
      prefixes: [{ ip_prefix: '10.1.2.0/24', mask_length_min: 24, mask_length_max: 32 }],
    } as const;
    await gb.addDefinedSet({ defined_set: set });
    await gb.addPolicy({
      policy: {
        name: 'import',
        statements: [
          {
            name: 'mark',
            conditions: { prefix_set: { type: 'any', name: 'few' } },
            actions: {
              community: { type: 'add', communities: ['65001:666'] },
              med: { type: 'mod', value: -5 },
              route_action: 'accept',
            },
          },
        ],
      },
    });
    await gb.setPolicyAssignment({
      assignment: {
        name: 'global',
        direction: 'import',
        policies: [{ name: 'import' }],
        default_action: 'reject',
      },
    });
    const listed = async <T>(list: AsyncIterable<T>) => {
      const all: T[] = [];
      for await (const each of list) all.push(each);
      return all;
    };
    t.match(await listed(gb.listDefinedSet({ defined_type: 'prefix' })), [{ defined_set: set }]);
    t.match(await listed(gb.listPolicy()), [
      {
        policy: {
          name: 'import',
          statements: [
            {
              name: 'mark',
              conditions: { prefix_set: { type: 'any', name: 'few' } },
              actions: { route_action: 'accept', med: { type: 'mod', value: -5 } },
            },
          ],
        },
      },
    ]);
    t.match(await listed(gb.listPolicyAssignment({ name: 'global', direction: 'import' })), [
      {
        assignment: {
          name: 'global',
          direction: 'import',
          policies: [{ name: 'import' }],
          default_action: 'reject',
        },
      },
    ]);
    const marked = async () => {
      const [path] = await pathsOf(gb, ipv4_unicast);
      return byType(path?.pattrs ?? []);
    };
    await gb.resetPeer({ address: left, soft: true, direction: 'in' });
    await until(
      'the policy holds for what was there',
      async () =>
        (await marked()).multi_exit_disc !== undefined &&
        ((await marked()).multi_exit_disc as never as { med: number }).med === 45,
    );
    t.strictSame((await marked()).communities, {
      type: 'communities',
      communities: [asn * 2 ** 16 + 100, asn * 2 ** 16 + 666],
    });
    t.strictSame(await pathsOf(gb, ipv6_unicast), [], 'what no statement accepts is rejected');

    // All of it at once, by the names: the assignment stays.
    await gb.setPolicies({
      defined_sets: [
        {
          defined_type: 'prefix',
          name: 'none',
          prefixes: [{ ip_prefix: '10.7.0.0/16', mask_length_min: 16, mask_length_max: 16 }],
        },
      ],
      policies: [
        {
          name: 'import',
          statements: [
            {
              name: 'mark',
              conditions: { prefix_set: { type: 'any', name: 'none' } },
              actions: { route_action: 'accept' },
            },
          ],
        },
      ],
    });
    await gb.resetPeer({ address: left, soft: true, direction: 'in' });
    await until('nothing is accepted any more', async () => (await pathsOf(gb, ipv4_unicast)).length === 0);
    await gb.setPolicyAssignment({
      assignment: { name: 'global', direction: 'import', policies: [], default_action: 'accept' },
    });
    await gb.deletePolicy({ policy: { name: 'import' }, all: true });
    await gb.deleteDefinedSet({ defined_set: { defined_type: 'prefix', name: 'none' }, all: true });
    t.strictSame(await listed(gb.listPolicy()), []);
    await t.rejects(gb.deletePolicy({ policy: { name: 'import' }, all: true }), RefusedError);
    await gb.resetPeer({ address: left, soft: true, direction: 'in' });
    await until('all are back', async () => (await pathsOf(gb, ipv4_unicast)).length === 1);

    if (gb.dialect === 3 && gb.version.minor! < 21)
      await t.rejects(gb.addDefinedSet({ defined_set: set, replace: true }), IncompatibleError);
    else {
      await gb.addDefinedSet({ defined_set: set });
      await gb.addDefinedSet({ defined_set: { ...set, prefixes: [] }, replace: true });
      await gb.deleteDefinedSet({ defined_set: set, all: true });
    }
  });

  await t.test('graceful restart: killed, its paths are stale; back, they are not', async (t) => {
    const from = watcher.events.length;
    await a.kill();
    await watcher.event(
      (event) => event.type === 'peer' && event.peer.state?.session_state !== 'established',
      from,
    );
    await until('the path is stale', async () => (await pathsOf(gb, ipv4_unicast))[0]?.stale === true);
    // 3.x tells it from 3.15 on.
    if (gb.dialect === 4)
      t.match((await peerAt(gb, left)).graceful_restart, {
        peer_restarting: true,
        peer_restart_time: restart_time,
      });

    ga = await a.start();
    await ga.startBgp({ global: startA });
    await ga.addPath({ path: announced[0]!.path });
    const again = {
      ...peerOf(right, port_b, left),
      graceful_restart: { enabled: true, restart_time, local_restarting: true },
    };
    await ga.addPeer({ peer: again });
    await until('the path is fresh', async () => {
      const [path] = await pathsOf(gb, ipv4_unicast);
      return path?.stale === false && (await pathsOf(gb, ipv6_unicast)).length === 0;
    });
    t.match(
      (await pathsOf(gb, ipv4_unicast))[0],
      { nlri: prefix4, stale: false },
      'what did not come again is gone',
    );
    const peer = await peerAt(gb, left);
    t.equal(peer.graceful_restart!.peer_restarting, false);
    const [graceful] = peer.state!.remote_cap.filter(({ type }) => type === 'graceful_restart');
    t.match(graceful, { flags: 8 }, 'it has said that it restarts');
    t.ok(peer.afi_safis.every(({ mp_graceful_restart }) => mp_graceful_restart!.state!.end_of_rib_received));
  });

  await t.test('a peer is changed, disabled, enabled and deleted', async (t) => {
    const { needs_soft_reset_in } = await ga.updatePeer({
      peer: {
        ...peerOf(right, port_b, left),
        conf: { neighbor_address: right, peer_asn: asn, auth_password: password, description: 'top of rack' },
      },
    });
    t.equal(typeof needs_soft_reset_in, 'boolean');
    t.match(await peerAt(ga, right), { conf: { description: 'top of rack', auth_password: password } });
    await ga.disablePeer({ address: right, communication: 'maintenance' });
    await until('down', async () => (await peerAt(ga, right)).state!.admin_state === 'down');
    await ga.enablePeer({ address: right });
    await until('up', async () => (await peerAt(ga, right)).state!.admin_state === 'up');
    await ga.shutdownPeer({ address: right });
    await ga.deletePeer({ address: right });
    await gb.deletePeer({ address: left });
    for await (const { peer } of ga.listPeer()) t.fail(peer.conf!.neighbor_address);
    await t.rejects(ga.deletePeer({ address: right }), { name: 'RefusedError', rpc: 'DeletePeer' });
    // What is no address is a name to 3.10, and its death where nobody knows the name.
    await t.rejects(ga.addPeer({ peer: { conf: { neighbor_address: 'tor.example', peer_asn: asn } } }), {
      name: 'MalformedError',
      message: 'PeerConf.neighbor_address: "tor.example" is not an IP address',
    });
  });

  await t.test('a session over IPv6 carries IPv6', async (t) => {
    const peer6 = (port: number): PeerInput => {
      const peer = peerOf('::1', port, '::1');
      return {
        ...peer,
        conf: { neighbor_address: '::1', peer_asn: asn },
        afi_safis: [{ config: { family: ipv6_unicast, enabled: true } }],
      };
    };
    const [{ path } = { path: undefined }] = announced.filter(({ path }) => path.family === ipv6_unicast);
    await ga.addPath({ path: path! });
    await ga.addPeer({ peer: peer6(port_b) });
    await gb.addPeer({
      peer: { ...peer6(port6_a), transport: { ...peer6(port6_a).transport, passive_mode: true } },
    });
    await until('a path over IPv6', async () => (await pathsOf(gb, ipv6_unicast)).length > 0);
    t.match(await pathsOf(gb, ipv6_unicast), [{ nlri: prefix6, neighbor_ip: '::1' }]);
  });

  await t.test('levels of the log', async (t) => {
    await ga.setLogLevel({ level: 'warn' });
    if (ga.dialect === 4)
      await t.rejects(ga.setLogLevel({ level: 'trace' }), { name: 'RefusedError', grpc_code: 3 });
    else await ga.setLogLevel({ level: 'trace' });
  });

  t.ok((await watcher.stop()) instanceof CancelledError);

  await t.test('stop', async (t) => {
    const { socket } = a;
    if (ga.dialect === 3) {
      await ga.stopBgp();
      t.match(await ga.getBgp(), { global: { asn: 0 } });
      await ga.startBgp({ global: startA });
      t.strictSame(await pathsOf(ga, ipv6_unicast), [], 'started again, the table is empty');
      await a.kill();
    } else await ga.stopBgp({ allow_graceful_restart: true }).catch(() => a.kill());
    if (ga.dialect === 4) await a.kill();
    const lost = await ga.closed;
    t.ok(lost === undefined || lost.code === 'disconnected', socket);
  });
  gb.close();
  t.equal(await gb.closed, undefined);
  await t.rejects(gb.getBgp(), { name: 'DisconnectedError', rpc: 'GetBgp' });
}

const three = findGobgpd(3);
const four = findGobgpd(4);
const without = (dialect: number) =>
  `needs a gobgpd ${dialect}.x: GOBGPD_${dialect}, or one on the PATH and BGP_TESTS=1`;
const pairs: readonly (readonly [string, Binary | undefined, Binary | undefined])[] = [
  ['two of 3.x', three, three],
  ['two of 4.x', four, four],
  ['one of each', three, four],
];
for (const [name, one, other] of pairs) {
  if (three === undefined && (one === undefined || other === undefined))
    t.test(name, { skip: without(3) }, async () => undefined);
  else if (four === undefined && (one === undefined || other === undefined))
    t.test(name, { skip: without(4) }, async () => undefined);
  else t.test(name, async (t) => scenario(t, one!, other!));
}
