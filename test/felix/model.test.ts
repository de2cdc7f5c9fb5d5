import fc from 'fast-check';
import t from 'tap';
import { AddressSet, type PackedPrefix, packPrefix, prefixText } from '../../src/felix/address-set.js';
import { parseMember, parsePrefixText, protocolPort } from '../../src/felix/members.js';
import type { FelixMessage } from '../../src/felix/messages.js';
import { FelixModel, type FelixState } from '../../src/felix/model.js';
import { type Changes, type FelixSet, no_port } from '../../src/felix/set.js';
import { parsePrefix } from '../../src/ip/text.js';
import { deltaMessage, modelOf, recorded, setMessage, tell } from './stream.js';

function textsOf(set: FelixSet | undefined, port = no_port): string[] {
  return [...(set?.members(port) ?? [])].map(prefixText).sort();
}

/** All of it as data, order apart. */
function snapshot(state: FelixState | undefined): unknown {
  if (state === undefined) return undefined;
  const sorted = <V>(map: ReadonlyMap<string, V>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    config: sorted(state.config),
    sets: sorted(state.sets).map(([id, set]) => [
      id,
      set.type,
      [...set.ports].sort().map((port) => [port, textsOf(set, port)]),
    ]),
    policies: sorted(state.policies),
    profiles: sorted(state.profiles),
    workloads: sorted(state.workloads),
    hosts: sorted(state.hosts),
  };
}

const prefix = fc.oneof(
  fc.tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.nat(32)),
  fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(128)),
  // Crowded: many with the same start, so that runs of slots grow and wrap.
  fc.tuple(fc.constant(Uint8Array.of(10, 0, 0, 0)), fc.nat(32)),
  fc.tuple(
    fc.nat(40).map((last) => Uint8Array.of(10, 0, 0, last)),
    fc.constant(32),
  ),
);

t.test('a packed set is a set', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), prefix), { maxLength: 300 }), (steps) => {
      const set = new AddressSet();
      const model = new Set<string>();
      for (const [is_add, [bytes, length]] of steps) {
        const packed = packPrefix(bytes, length);
        const text = prefixText(packed);
        if (is_add ? set.add(packed) === model.has(text) : set.delete(packed) !== model.has(text))
          return false;
        if (is_add) model.add(text);
        else model.delete(text);
        if (set.has(packed) !== is_add || set.size !== model.size) return false;
      }
      const all = [...set].map((member) => prefixText(member)).sort();
      return JSON.stringify(all) === JSON.stringify([...model].sort());
    }),
    { numRuns: 300 },
  );
  const set = new AddressSet();
  for (const text of ['10.0.0.0/8', '10.1.0.0/16', 'fd00::/8']) set.add(parsePrefixText(text)!);
  const covers = (text: string) => set.covers(parsePrefixText(text)!);
  t.strictSame(['10.9.9.9', '10.0.0.0/8', 'fd00::1'].map(covers), [true, true, true]);
  t.strictSame(['11.0.0.0', '10.0.0.0/7', 'fc00::1', '::/0'].map(covers), [false, false, false, false]);
  set.delete(parsePrefixText('10.0.0.0/8')!);
  t.strictSame(['10.9.9.9', '10.1.2.3'].map(covers), [false, true]);
});

/** Without an end in IPv4's spelling. */
const plain_v6 = fc.ipV6().filter((text) => !text.includes('.'));

t.test('members are read as written, and nothing else is one', async (t) => {
  const shown = (text: string) => {
    const member = parseMember(Buffer.from(text));
    return member && `${prefixText(member.prefix)}${member.port === undefined ? '' : ` ${member.port}`}`;
  };
  t.equal(shown('10.1.2.3'), '10.1.2.3/32');
  t.equal(shown('10.1.2.3/8'), '10.0.0.0/8');
  t.equal(shown('255.255.255.255/0'), '0.0.0.0/0');
  t.equal(shown('fd00::1'), 'fd00::1/128');
  for (const text of ['::', '::1', '1::', '1:2:3:4:5:6:7:8', '::2:3:4:5:6:7:8', '1:2:3:4:5:6:7::', 'a::F:0'])
    t.equal(shown(text), prefixText(packPrefix(parsePrefix(text).bytes, 128)), text);
  t.equal(shown('2001:db8:ffff::/33'), '2001:db8:8000::/33');
  t.equal(shown('10.0.0.1,tcp:80'), `10.0.0.1/32 ${protocolPort(6, 80)}`);
  t.equal(shown('fd00::1,SCTP:65535'), `fd00::1/128 ${protocolPort(132, 65535)}`);
  for (const text of [
    ...['', '10', '10.0.0', '10.0.0.', '10.0.0.256', '10.0.0.1/33', '10.0.0.1/', '10.0.0.1/8/8', '1.2.3.4.5'],
    ...[
      '::/129',
      'fd00::/',
      'fd00::/x',
      'fe80::1%eth0',
      'x',
      '10.0.0.1 ',
      '1..2.3',
      '10.0.0.1,tcp',
      ',tcp:80',
    ],
    ...['10.0.0.1,icmp:8', '10.0.0.1,tcp:65536', '10.0.0.1,tcp:-1', '10.0.0.1,tcp:80:81', '10.0.0.1,tcp:'],
  ])
    t.equal(shown(text), undefined, text);
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), plain_v6), fc.nat(128), (address, bits) => {
      const length = address.includes(':') ? bits : bits % 33;
      const { bytes } = parsePrefix(address);
      const member = parseMember(Buffer.from(`${address}/${length}`));
      return member !== undefined && prefixText(member.prefix) === prefixText(packPrefix(bytes, length));
    }),
  );
});

t.test(
  'nothing is in force before InSync, and the last statement stays in force until the next',
  async (t) => {
    const messages = recorded('k8s-basic');
    t.ok(messages.length > 100);
    const at = messages.findIndex(({ kind }) => kind === 'in_sync');
    const model = new FelixModel();
    model.connected();
    tell(model, messages.slice(0, at));
    t.equal(model.live, undefined);
    t.strictSame(model.take().workloads.size, 0, 'and nothing was touched');
    tell(model, messages.slice(at));
    const whole = snapshot(model.live);
    t.ok(model.take().workloads.size > 0);
    // The next connection, cut after each of its messages: what is in force is the same.
    for (let cut = 0; cut < at; cut += 1) {
      model.connected();
      tell(model, messages.slice(0, cut));
      t.strictSame(snapshot(model.live), whole);
      if (cut % 2 === 0) model.disconnected();
    }
    t.equal(model.take().workloads.size, 0);
    model.connected();
    tell(model, messages);
    t.strictSame(snapshot(model.live), whole);
  },
);

t.test('a recording says the same whole, and cut and told anew at every message', async (t) => {
  for (const name of ['k8s-basic', 'k8s-basic-v331', 'tiers', 'hostendpoints', 'sets-services', 'profiles']) {
    const messages = recorded(name);
    const model = new FelixModel();
    model.connected();
    t.strictSame(tell(model, messages), [], name);
    const whole = snapshot(model.live);
    for (let cut = 0; cut < messages.length; cut += 5) {
      const again = new FelixModel();
      again.connected();
      tell(again, messages.slice(0, cut));
      again.connected();
      tell(again, messages);
      t.strictSame(snapshot(again.live), whole, `${name} ${cut}`);
    }
  }
});

t.test('both versions of one scenario end in the same endpoints, sets and rules', async (t) => {
  const of = (name: string) => {
    const { live } = modelOf(recorded(name));
    const state = live!;
    const key = (text: string) => text.replace(/^\S+ /, '').replace(/^[^|]+\|/, '');
    return {
      workloads: [...state.workloads]
        .map(([id, { tiers, active, nets }]) => [
          id,
          active,
          nets.length,
          tiers.map((tier) => [tier.name, tier.ingress.map((ref) => key(ref.key)).sort(), tier.end]),
        ])
        .sort(),
      sets: [...state.sets].map(([id, set]) => [id, set.size]).sort(),
      policies: [...state.policies.keys()].map(key).sort(),
    };
  };
  t.strictSame(of('k8s-basic-v331'), of('k8s-basic'));
});

/** What a taker has after it took these changes. */
function follow(has: Map<number, Set<string>>, set: FelixSet, changes: Changes | undefined): void {
  if (changes === undefined) {
    has.clear();
    for (const port of set.ports) has.set(port, new Set(textsOf(set, port)));
    return;
  }
  const text = (prefix: PackedPrefix) => prefixText(prefix);
  for (const [port, { added, removed }] of changes) {
    const members = has.get(port) ?? new Set();
    for (const prefix of added) {
      if (members.has(text(prefix))) throw new Error(`${text(prefix)} is added twice`);
      members.add(text(prefix));
    }
    for (const prefix of removed)
      if (!members.delete(text(prefix))) throw new Error(`${text(prefix)} was not there`);
    if (members.size > 0) has.set(port, members);
    else has.delete(port);
  }
}

t.test('who takes the changes of a set has its members, whatever was told between', async () => {
  const member = fc
    .tuple(fc.nat(12), fc.constantFrom(80, 81), fc.constantFrom('tcp', 'udp'))
    .map(([last, port, protocol]) => `10.0.0.${last},${protocol}:${port}`);
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ added: fc.array(member), removed: fc.array(member) }) },
    { weight: 1, arbitrary: fc.record({ all: fc.array(member) }) },
    { weight: 1, arbitrary: fc.record({ snapshot: fc.array(member) }) },
    { weight: 2, arbitrary: fc.constant('take' as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const whole = (members: readonly string[]) => setMessage('n:x', members, 'address_and_port');
      const model = modelOf([whole([]), { kind: 'in_sync' }]);
      const has = new Map<number, Set<string>>();
      const take = () => follow(has, model.live!.sets.get('n:x')!, model.live!.sets.get('n:x')!.take());
      take();
      for (const what of steps) {
        if (what === 'take') take();
        else if ('all' in what) tell(model, [whole(what.all)]);
        else if ('snapshot' in what) {
          model.connected();
          tell(model, [whole(what.snapshot), { kind: 'in_sync' }]);
        } else {
          const added = [...new Set(what.added)];
          tell(model, [deltaMessage('n:x', added, what.removed)]);
        }
      }
      take();
      const set = model.live!.sets.get('n:x')!;
      return (
        [...set.ports].every(
          (port) => JSON.stringify([...(has.get(port) ?? [])].sort()) === JSON.stringify(textsOf(set, port)),
        ) && has.size === [...set.ports].length
      );
    }),
    { numRuns: 300 },
  );
});

t.test('what contradicts the stream is told by its object, and the stream goes on', async (t) => {
  const model = modelOf([{ kind: 'in_sync' }]);
  const wrong: [FelixMessage, RegExp][] = [
    [deltaMessage('s:none', ['10.0.0.1/32'], []), /set s:none.*not there/],
    [{ kind: 'set_removed', id: 's:none' }, /set s:none.*not there/],
    [{ kind: 'policy_removed', key: 'NetworkPolicy a/b' }, /policies NetworkPolicy a\/b.*not there/],
    [{ kind: 'unknown', field: 77 }, /message 77/],
    [{ kind: 'unreadable', why: 'because' }, /because/],
    [{ kind: 'in_sync' }, /second one/],
    [setMessage('s:bad', ['10.0.0.1/32', 'nonsense']), /set s:bad.*'nonsense'/],
  ];
  for (const [message, expected] of wrong) {
    const [problem] = tell(model, [message]);
    t.match(`${problem?.object}: ${problem?.why}`, expected);
  }
  const bad = model.live!.sets.get('s:bad')!;
  t.strictSame(textsOf(bad), ['10.0.0.1/32']);
  tell(model, [deltaMessage('s:bad', [], ['nonsense'])]);
  t.equal(bad.fault, undefined, 'a set whose unreadable member goes is whole again');
  tell(model, [setMessage('s:typed', ['10.0.0.1,tcp:80'])]);
  t.match(model.live!.sets.get('s:typed')!.fault, 'not one of type prefix');
  t.throws(() => new FelixModel().apply({ kind: 'config', config: new Map() }), /without a connection/);
});

t.test('100,000 members are taken in in pieces, and need little memory', async (t) => {
  const members = Array.from({ length: 100_000 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`);
  const message = setMessage('s:big', members);
  const model = modelOf([{ kind: 'in_sync' }]);
  model.take();
  model.apply(message);
  let pieces = 0;
  while (model.busy) {
    t.equal(model.take().sets.size, 0, 'not touched before it is whole');
    model.work(10_000);
    pieces += 1;
  }
  t.ok(pieces >= 9, `${pieces} pieces`);
  const set = model.live!.sets.get('s:big')!;
  t.equal(set.size, 100_000);
  t.ok(set.bytes <= 25 * 100_000, `${set.bytes} bytes`);
  t.equal(set.take(), undefined);
  // An edge of it: a delta costs what it says, and the next snapshot with the same members nothing.
  tell(model, [deltaMessage('s:big', ['192.0.2.1/32'], ['10.0.0.0/32'])]);
  const change = set.take()?.get(no_port);
  t.strictSame([change?.added.size, change?.removed.size], [1, 1]);
  model.connected();
  tell(model, [setMessage('s:big', [...members.slice(1), '192.0.2.1']), { kind: 'in_sync' }]);
  t.not(model.live!.sets.get('s:big'), set);
  t.equal(model.live!.sets.get('s:big')!.take()?.size, 0);
  t.strictSame([...model.take().sets], ['s:big']);
  const six = setMessage(
    's:six',
    Array.from({ length: 10_000 }, (_, i) => `2001:db8::${i.toString(16)}`),
  );
  tell(model, [six]);
  t.ok(model.live!.sets.get('s:six')!.bytes <= 60 * 10_000);
});
