import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ip6_ra_event } from 'vpp-binapi-ts/ip6_nd';
import { memoryFile } from '../../lab/memory-file.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { type StandInVpp, startStandInVpp } from '../../lab/vpp/stand-in.js';
import { sessionOpener } from '../../src/vpp-conn/open-session.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';
import type { TranslationIds } from '../../src/vpp-conn/translation-ids.js';
import { KeptLog, type Teardown } from '../kit/actor-kit.js';
import { adds, route, tap, turn } from './executor-lab.js';

const deadline_ms = 3000;
/** As VPP tells of a router. */
const said = {
  pid: 1,
  sw_if_index: 0,
  router_addr: 'fe80::1',
  current_hop_limit: 64,
  flags: 0,
  router_lifetime_in_sec: 1800,
  neighbor_reachable_time_in_msec: 0,
  time_in_msec_between_retransmitted_neighbor_solicitations: 0,
  prefixes: [],
};
const settings = { generation: 1, owner: 'test', on_error: 'continue', urgency: 'prompt' } as const;

/** Waits for what a socket brings. */
async function until(come: () => boolean): Promise<void> {
  for (let turns = 0; !come(); turns += 1) {
    if (turns > 100_000) throw new Error('it does not come');
    await turn();
  }
}

async function opened(
  t: Teardown,
  before: (vpp: StandInVpp) => void = () => undefined,
  waited_ms: (clock: TurnedClock) => number = () => 0,
  host_stack = false,
) {
  // The path of a socket has 107 bytes.
  const directory = mkdtempSync(join(tmpdir(), 'session-'));
  const api_socket = join(directory, 'api.sock');
  const vpp = await startStandInVpp({ socket: api_socket });
  before(vpp);
  const clock = new TurnedClock();
  const told: (readonly [pid: number, ids: TranslationIds])[] = [];
  const log = new KeptLog();
  const opener = sessionOpener({
    request_ms: 10_000,
    translations: (pid, ids) => told.push([pid, ids]),
    registry: memoryFile(),
    quarantine: new Quarantine(memoryFile(), () => undefined),
    waited_ms: () => waited_ms(clock),
    clock,
    log,
    host_stack,
  });
  const identity = '1 1 boot';
  const run = { pid: 1, identity, api_socket, adopted: false, exited: new Promise<never>(() => undefined) };
  const opening = opener.open(run, deadline_ms, new AbortController().signal);
  opening.catch(() => undefined);
  t.teardown(() => {
    vpp.close();
    rmSync(directory, { recursive: true });
  });
  const probes = (): number => vpp.counts.get('control_ping') ?? 0;
  return { vpp, clock, opening, probes, opener, run, told, log };
}

t.test(
  'a session tells how many workers VPP has, and on which NUMA node each of its threads is',
  async (t) => {
    const { opening } = await opened(t, ({ state }) => {
      state.numa = [0, 1, -1];
    });
    const { workers, numa, close } = await opening;
    t.equal(workers, 2);
    t.same(numa, [0, 1, undefined]);
    close();
  },
);

t.test('a session ends with any of its connections', async (t) => {
  const { vpp, opening } = await opened(t);
  const session = await opening;
  t.equal(session.had_interfaces, false);
  t.equal(session.workers, 0);
  vpp.fault({ fault: 'close', at: { message: 'control_ping' } });
  await session.ping(deadline_ms);
  t.type(await session.closed, 'string');
  const transaction = {
    generation: 1,
    owner: 'test',
    operations: adds(route('10.0.0.0/8')),
    on_error: 'continue',
    urgency: 'bulk',
  } as const;
  await t.rejects(session.execute(transaction, () => false));
  await t.rejects(session.cli('show version'));
});

t.test('who is introduced to VPP is known to it like others that it has met', async (t) => {
  const { vpp, opening } = await opened(t);
  const session = await opening;
  const neighbour = { kind: 'neighbour', interface: 'eth0' } as const;
  const known = { ...neighbour, address: '10.0.0.9', mac: '02:00:00:00:00:09' };
  await session.execute({ ...settings, operations: adds(tap('eth0'), known) }, () => false);
  await session.introduce(neighbour.interface, [
    { address: '10.0.0.9', mac: '02:00:00:00:00:99' },
    { address: '10.0.0.10', mac: '02:00:00:00:00:10' },
    { address: 'fe80::11', mac: '02:00:00:00:00:11' },
  ]);
  t.same(
    (await session.neighbours(neighbour.interface)).map(({ address, mac }) => `${address} ${mac}`),
    ['10.0.0.9 02:00:00:00:00:09', '10.0.0.10 02:00:00:00:00:10', 'fe80::11 02:00:00:00:00:11'],
    'a static one stays, and is no reason to refuse others',
  );
  vpp.close();
  await session.closed;
  await t.rejects(
    session.introduce(neighbour.interface, [{ address: '10.0.0.9', mac: '02:00:00:00:00:09' }]),
  );
});

t.test('the next session with a VPP knows the ids that the one before has learned', async (t) => {
  const { opening, opener, run, told } = await opened(t);
  (await opening).close();
  const open = (at: typeof run) => opener.open(at, deadline_ms, new AbortController().signal);
  (await open(run)).close();
  (await open({ ...run, pid: 2, identity: '2 1 boot' })).close();
  const [first, second, other] = told;
  t.strictSame(
    told.map(([pid]) => pid),
    [1, 1, 2],
  );
  t.equal(second?.[1], first?.[1]);
  t.not(other?.[1], first?.[1], 'and not of another VPP');
});

t.test('a VPP that says nothing at all for so long has missed its probe', async (t) => {
  const { vpp, clock, opening, probes } = await opened(t);
  const session = await opening;
  const before = probes();
  vpp.fault({ fault: 'hang', at: { message: 'control_ping' } });
  const probe = session.ping(deadline_ms);
  let missed = false;
  probe.catch(() => {
    missed = true;
  });
  await until(() => probes() > before);
  await clock.advance(deadline_ms - 1);
  t.notOk(missed);
  await clock.advance(1);
  await t.rejects(probe, { message: /said nothing for 3000 ms/ });
  session.close();
});

/** Turns the clock until the session is open. */
async function openedAfter<T>(opening: Promise<T>, clock: TurnedClock): Promise<T> {
  let open = false;
  opening.then(
    () => {
      open = true;
    },
    () => {
      open = true;
    },
  );
  for (let ms = 0; !open && ms < deadline_ms; ms += 1) await clock.advance(1);
  return opening;
}

t.test('a VPP whose own clock is wrong for good is replaced, and kept where others have been', async (t) => {
  let rate = 1 / 200;
  const { vpp, clock, opening, opener, run } = await opened(t, ({ state }) => {
    state.own_clock = () => 0;
  });
  vpp.state.own_clock = () => (clock.now_ms() * rate) / 1000;
  const open = (pid: number, changes: Partial<typeof run & { clock_kept: true }> = {}) =>
    openedAfter(
      opener.open(
        { ...run, pid, identity: `${pid} 1 boot`, ...changes },
        deadline_ms,
        new AbortController().signal,
      ),
      clock,
    );
  const fault = async (session: ReturnType<typeof open>) => {
    const { clock_fault, close } = await session;
    close();
    return clock_fault;
  };
  t.match(await fault(openedAfter(opening, clock)), {
    verdict: 'replace',
    reason: /it went 0\.05 ms in 10\.0 ms/,
  });
  const asked = vpp.counts.get('cli_inband');
  t.match(await fault(open(1)), { verdict: 'replace' }, 'of the same VPP it is the same');
  t.equal(vpp.counts.get('cli_inband')! - asked!, 2, 'and it is not asked for it again');
  rate = 50_000;
  t.match(await fault(open(2)), { verdict: 'replace', reason: /it went 500000\.00 ms in 10\.0 ms/ });
  t.match(await fault(open(3)), { verdict: 'keep' }, 'the machine has it');
  t.match(await fault(open(4)), { verdict: 'keep' });
  rate = 1.01;
  t.equal(await fault(open(5)), undefined);
  rate = 0.4;
  t.match(await fault(open(6)), { verdict: 'replace' });
  t.match(await fault(open(7, { adopted: true, clock_kept: true })), { verdict: 'keep' });
  t.match(await fault(open(8)), { verdict: 'keep' }, 'what an earlier life has learned counts');
});

t.test('a VPP whose clock cannot be known has its session all the same', async (t) => {
  for (const fault of ['hang', 'die'] as const) {
    const { vpp, clock, opening } = await opened(t, ({ state }) => {
      state.own_clock = () => 0;
    });
    let asked = 0;
    vpp.state.own_clock = () => {
      asked += 1;
      // It has answered the others by then.
      if (asked === 1) vpp.fault({ fault, at: { message: 'cli_inband', nth: 3 } });
      return 0;
    };
    const session = await openedAfter(opening, clock);
    t.equal(session.clock_fault, undefined);
    if (fault === 'die') t.type(await session.closed, 'string');
    else t.ok(clock.now_ms() < deadline_ms);
    session.close();
  }
  const { clock, opening, opener, run } = await opened(t, ({ state }) => {
    state.own_clock = () => 0;
  });
  t.match(await openedAfter(opening, clock), { clock_fault: { verdict: 'replace' } });
  const hurried = opener.open({ ...run, pid: 2, identity: '2 1 boot' }, 10, new AbortController().signal);
  t.match(
    await openedAfter(hurried, clock),
    { clock_fault: { verdict: 'replace' } },
    'the pauses between two looks are not its own time',
  );
});

t.test('a machine that was stopped for a moment is no fault of a clock', async (t) => {
  let jump_ms = 0;
  const { vpp, clock, opening } = await opened(t, ({ state }) => {
    state.own_clock = () => 0;
  });
  let asked = 0;
  vpp.state.own_clock = () => {
    asked += 1;
    if (asked === 2) jump_ms = 60_000;
    return (clock.now_ms() + jump_ms) / 1000;
  };
  const session = await openedAfter(opening, clock);
  t.equal(session.clock_fault, undefined);
  t.ok(asked >= 3, 'it was looked at once more');
  session.close();
});

t.test('a VPP that waits for a CPU has as long by its own time', async (t) => {
  for (const hangs of [true, false]) {
    const { vpp, clock, opening, probes } = await opened(t, undefined, (own) => 0.75 * own.now_ms());
    const session = await opening;
    const before = probes();
    vpp.fault({ fault: hangs ? 'hang' : 'drop_reply', at: { message: 'control_ping' } });
    const probe = session.ping(deadline_ms);
    let missed = false;
    probe.catch(() => {
      missed = true;
    });
    await until(() => probes() > before);
    await clock.advance(3.9 * deadline_ms);
    t.notOk(missed);
    if (!hangs) await session.cli('show version');
    await clock.advance(0.2 * deadline_ms);
    if (hangs) await t.rejects(probe, { message: /in which it could/ }, 'it spins, or has no CPU for ever');
    else await t.resolves(probe, 'in the end it has answered somebody');
    session.close();
  }
});

t.test('a VPP that has answered somebody else meanwhile is busy, and lives', async (t) => {
  const { vpp, clock, opening, probes } = await opened(t);
  const session = await opening;
  const before = probes();
  vpp.fault({ fault: 'drop_reply', at: { message: 'control_ping' } });
  const probe = session.ping(deadline_ms);
  await until(() => probes() > before);
  await clock.advance(1);
  await session.cli('show version');
  await clock.advance(deadline_ms);
  await t.resolves(probe);
  session.close();
});

t.test('what routers say is no answer: anybody on a link, or in a pod, has VPP tell it', async (t) => {
  const { vpp, clock, opening, probes } = await opened(t);
  const session = await opening;
  session.hearRouters(() => undefined);
  await until(() => vpp.state.router_listeners.size > 0);
  const before = probes();
  vpp.fault({ fault: 'drop_reply', at: { message: 'control_ping' } });
  const probe = session.ping(deadline_ms);
  probe.catch(() => undefined);
  await until(() => probes() > before);
  await clock.advance(1);
  for (const listener of vpp.state.router_listeners) listener.send(ip6_ra_event, said);
  await clock.advance(deadline_ms);
  await t.rejects(probe, /has said nothing/);
  session.close();
});

t.test('a connection that ends in the middle of a probe is no probe missed', async (t) => {
  const { vpp, opening } = await opened(t);
  const session = await opening;
  vpp.fault({ fault: 'die', at: { message: 'control_ping' } });
  await t.resolves(session.ping(deadline_ms));
  await session.closed;
});

t.test('a VPP that takes the connection and says nothing has so long to answer', async (t) => {
  const { vpp, clock, opening } = await opened(t, (own) => own.fault({ fault: 'hang', at: {} }));
  await until(() => vpp.hung !== undefined);
  await clock.advance(deadline_ms);
  await t.rejects(opening, { message: /VPP 1 does not answer/ });
});

t.test('one that waits for a CPU meanwhile has longer', async (t) => {
  const hung = (own: StandInVpp): void => own.fault({ fault: 'hang', at: {} });
  const { vpp, clock, opening } = await opened(t, hung, (own) => own.now_ms() / 2);
  await until(() => vpp.hung !== undefined);
  let given_up = false;
  opening.catch(() => {
    given_up = true;
  });
  await clock.advance(1.9 * deadline_ms);
  t.notOk(given_up);
  await clock.advance(0.2 * deadline_ms);
  await t.rejects(opening, { message: /VPP 1 does not answer/ });
});

t.test('what VPP says while our own loop stands still is not missed', async (t) => {
  for (const turns of [0, 1, 3, 10]) {
    const { clock, opening } = await opened(t);
    for (let n = 0; n < turns; n += 1) await turn();
    await clock.stall(2 * deadline_ms);
    const session = await opening;
    t.equal(session.had_interfaces, false, `after ${turns} turns`);
    session.close();
  }
});

t.test('a VPP with interfaces of a release that had no FIB sources was programmed before', async (t) => {
  const pod = adds(
    tap('pod'),
    { kind: 'table', family: 4, table_id: 1001, name: 'pod', multicast: false },
    { kind: 'interface_table', interface: 'pod', family: 4, table_id: 1001 },
    { kind: 'interface_flag', interface: 'pod', flag: 'cnat_feature' },
  );
  for (const old of [true, false]) {
    const { opening } = await opened(t, ({ state: { interfaces } }) => {
      if (!old) return;
      const left = {
        name: 'loop7',
        dev_type: 'Loopback',
        ethernet: true,
        mac: '02:00:00:00:00:07',
        instance: 7,
      } as const;
      interfaces.create(left).tag = 'main-eth0';
    });
    const session = await opening;
    t.equal(session.had_interfaces, old);
    const { error } = await session.execute({ ...settings, operations: pod }, () => false);
    if (old) t.equal(error, undefined, 'its cnat was begun by the addresses of source NAT');
    else t.match(error, { code: 'deadly' });
    session.close();
  }
});

t.test('a VPP with a host stack gives ICMP back, or it is said that it does not', async (t) => {
  const asked = async (host_stack: boolean, has_punt_socket: boolean) => {
    const { vpp, opening, log } = await opened(
      t,
      (vpp) => {
        vpp.state.has_punt_socket = has_punt_socket;
      },
      undefined,
      host_stack,
    );
    (await opening).close();
    return { asked: vpp.counts.get('punt_socket_deregister') ?? 0, said: JSON.stringify(log) };
  };
  const with_socket = await asked(true, true);
  t.match(with_socket, { asked: 1 });
  t.notMatch(with_socket.said, /punt section/);
  t.match(await asked(true, false), { asked: 1, said: /punt section/ });
  t.match(await asked(false, false), { asked: 0 });
});
