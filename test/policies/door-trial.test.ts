/** What is made of VPP's answers when its doors are tried: with a command line that the test speaks for. `test/vpp/doors.test.ts` tries a real one. */
import t from 'tap';
import { doorFindings } from '../../src/check/check.js';
import { type TriedDoor, tryDoors } from '../../src/policies/door-trial.js';
import { doors, openDoors } from '../../src/policies/doors.js';

const all: readonly TriedDoor[] = ['dead_first_packet', 'quoted_flow', 'other_protocols', 'poisoned_errors'];

/** VPP, as far as it is asked: two interfaces, a route, a verdict, and sessions by source port. */
class Vpp {
  denies = false;
  has_route = true;
  is_poisoned = false;
  /** Flows that are asked nothing any more. */
  readonly opened = new Set<number>();
  readonly packets = new Map<string, { from: string; packet: Buffer }>();
  counters: Record<string, string> = {};
  readonly said: string[] = [];

  constructor(
    readonly open: ReadonlySet<TriedDoor>,
    readonly is_npol_there = true,
    readonly has_generator = true,
  ) {}

  ask = async (command: string): Promise<string> => {
    this.said.push(command);
    if (command === 'show version') return 'vpp v26.10-rc0 built by nobody\r\n';
    if (command.startsWith('npol interface configure pg1'))
      this.denies = this.is_npol_there && command.includes('tx-policy-def 1');
    if (command.startsWith('ip route del 198.51.100.2/32')) this.has_route = false;
    if (command.startsWith('ip route add 198.51.100.2/32')) this.has_route = true;
    if (command === 'clear interfaces') this.counters = {};
    const stream = /^packet-generator new \{ name (\S+) .* interface (\S+) .* hex 0x(\S+) /.exec(command);
    if (stream !== null)
      this.packets.set(stream[1]!, { from: stream[2]!, packet: Buffer.from(stream[3]!, 'hex') });
    const [, name] = /^packet-generator enable-stream (\S+)/.exec(command) ?? [];
    if (name !== undefined && this.has_generator) this.#send(this.packets.get(name)!);
    const [, shown] = /^show interface (\S+)/.exec(command) ?? [];
    return shown === undefined ? '' : `${shown}  1  up  0/0/0/0 ${this.counters[shown] ?? ''}`;
  };

  #send({ from, packet }: { from: string; packet: Buffer }): void {
    this.counters[from] = 'rx packets                     1';
    const to = from === 'pg0' ? 'pg1' : 'pg0';
    if (this.#passes(from, packet)) this.counters[to] = 'tx packets                     1';
  }

  #passes(from: string, packet: Buffer): boolean {
    const [ttl, protocol, port] = [packet[8]!, packet[9]!, packet.readUInt16BE(20)];
    if (ttl === 1) {
      this.is_poisoned = this.open.has('poisoned_errors');
      return false;
    }
    if (protocol === 47) {
      if (this.is_poisoned) return false;
      return from === 'pg1' || !this.denies || this.open.has('other_protocols');
    }
    if (protocol === 1) {
      // Behind its own header and that of the error, the flow that it quotes, which goes the other way.
      if (this.open.has('quoted_flow')) this.opened.add(packet.readUInt16BE(20 + 8 + 20 + 2));
      return false;
    }
    if (!this.has_route) {
      if (this.open.has('dead_first_packet')) this.opened.add(port);
      return false;
    }
    return !this.denies || this.opened.has(port);
  }
}

t.test('each door is told by its own packets, and by nothing else', async (t) => {
  for (const open of [[], all, ...all.map((door) => [door])]) {
    const vpp = new Vpp(new Set(open));
    const trial = await tryDoors(vpp.ask);
    t.same(
      openDoors(trial),
      all.filter((door) => open.includes(door)),
      `open: ${open}`,
    );
    t.equal(trial.vpp, 'vpp v26.10-rc0 built by nobody');
    for (const { packet } of vpp.packets.values()) {
      let sum = 0;
      for (let at = 0; at < 20; at += 2) sum += packet.readUInt16BE(at);
      t.equal((sum & 0xffff) + (sum >> 16), 0xffff, 'the header that VPP checks');
      t.equal(packet.readUInt16BE(2), packet.length);
    }
  }
});

t.test('where VPP does not judge, or sends nothing, nothing is said of its doors', async (t) => {
  await t.rejects(tryDoors(new Vpp(new Set(), false).ask), /does this VPP have the plugins/);
  await t.rejects(tryDoors(new Vpp(new Set(), true, false).ask), /packet generator/);
});

t.test(
  'what was tried takes the place of what is known, and is said before anything is taken over',
  async (t) => {
    const settings = { drop_ip_options: true, drop_other_protocols: false };
    t.match(doors({ ...settings, drop_other_protocols: true }), {
      other_protocols: { is_open: false, from: 'setting' },
      other_protocols_out: { is_open: true, from: 'known' },
      other_icmp: { is_open: true, from: 'known' },
    });
    t.match(doors(settings), {
      dead_first_packet: { is_open: true, from: 'known' },
      ip_options: { is_open: false, from: 'setting' },
    });
    const trial = await tryDoors(new Vpp(new Set(['quoted_flow'])).ask);
    t.match(doors(settings, trial), {
      dead_first_packet: { is_open: false, from: 'trial' },
      quoted_flow: { is_open: true, from: 'trial' },
      other_protocols: { is_open: false, from: 'trial' },
      other_protocols_out: { is_open: false, from: 'trial' },
      full_table: { is_open: true, from: 'known' },
    });
    t.match(doorFindings(trial), [{ severity: 'warning', what: /quoted_flow \(vpp v26/ }]);
    t.match(doorFindings(await tryDoors(new Vpp(new Set()).ask)), [{ severity: 'ok' }]);
    t.match(doorFindings(new Error('it has ended')), [{ severity: 'warning', what: /it has ended/ }]);
  },
);
