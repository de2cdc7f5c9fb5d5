import { fromBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import t from 'tap';
import { decode } from '../../src/felix/decode.js';
import { AnswerEncoder } from '../../src/felix/encode.js';
import { FrameReader, frame } from '../../src/felix/frames.js';
import { FromDataplaneSchema } from '../../src/felix/generated/felix_pb.js';
import { memberTexts } from '../../src/felix/members.js';
import type { FelixMessage, Rule, Side, Tier } from '../../src/felix/messages.js';
import { bytesOf, fixture, recorded } from './stream.js';

const recordings = [
  ...['k8s-basic', 'k8s-basic-v331', 'tiers', 'tiers-v331', 'hostendpoints', 'icmp-and-negation'],
  ...['sets-services', 'burst', 'wep-fields', 'profiles', 'config', 'config-c2', 'config-c3', 'config-c4'],
];

/** A frame of a recording as its decoded text has it: protobuf's JSON. */
// biome-ignore lint/suspicious/noExplicitAny: documents of any shape
type Json = any;

function texts(name: string): Json[] {
  return fixture(`${name}.txt`)
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line.replace(/^\d+ \d+ /, '')));
}

const list = (value: Json): Json[] => value ?? [];

function sideFrom(rule: Json, side: 'src' | 'dst' | 'notSrc' | 'notDst'): Side {
  return {
    nets: list(rule[`${side}Net`]),
    sets: list(rule[`${side}IpSetIds`]),
    ports: list(rule[`${side}Ports`]).map(({ first = 0, last = 0 }) => ({ first, last })),
    named_ports: list(rule[`${side}NamedPortIpSetIds`]),
  };
}

function ruleFrom(rule: Json): Rule {
  const protocol = (of: Json) => of && (of.number ?? of.name);
  const icmp = (type: Json, both: Json) => {
    if (type !== undefined) return { type, code: undefined };
    return both && { type: both.type ?? 0, code: both.code ?? 0 };
  };
  return {
    action: (rule.action ?? '').toLowerCase(),
    ip_version: { IPV4: 4, IPV6: 6 }[rule.ipVersion as string] ?? 0,
    protocol: protocol(rule.protocol),
    not_protocol: protocol(rule.notProtocol),
    icmp: icmp(rule.icmpType, rule.icmpTypeCode),
    not_icmp: icmp(rule.notIcmpType, rule.notIcmpTypeCode),
    src: sideFrom(rule, 'src'),
    dst: sideFrom(rule, 'dst'),
    not_src: sideFrom(rule, 'notSrc'),
    not_dst: sideFrom(rule, 'notDst'),
    services: list(rule.dstIpPortSetIds),
    unknown: [],
  };
}

function rulesFrom(of: Json): { inbound: Rule[]; outbound: Rule[] } {
  return {
    inbound: list(of?.inboundRules).map(ruleFrom),
    outbound: list(of?.outboundRules).map(ruleFrom),
  };
}

function keyFrom(id: Json, tier?: string): string {
  if (typeof id === 'string') return `${tier}|${Buffer.from(id, 'base64').toString()}`;
  return id.kind ? `${id.kind} ${id.namespace ? `${id.namespace}/` : ''}${id.name}` : `${id.tier}|${id.name}`;
}

/** Up to 3.31 a reference is the bare name; protobuf's JSON has it as text where the schema says string. */
function tiersFrom(tiers: Json): Tier[] {
  const ref = (id: Json, tier: string) => {
    const key = typeof id === 'string' ? `${tier}|${id}` : keyFrom(id);
    return { key, staged: /^Staged|staged:/.test(key) };
  };
  return list(tiers).map(({ name, ingressPolicies, egressPolicies, defaultAction }) => ({
    name,
    ingress: list(ingressPolicies).map((id) => ref(id, name)),
    egress: list(egressPolicies).map((id) => ref(id, name)),
    end: defaultAction === 'Pass' ? 'pass' : 'deny',
  }));
}

/** What the text says that the message is; undefined: a kind that is compared elsewhere. */
function messageFrom(text: Json): FelixMessage | undefined {
  const { activePolicyUpdate: policy, activeProfileUpdate: profile } = text;
  const { workloadEndpointUpdate: workload, hostEndpointUpdate: host, configUpdate: config } = text;
  if ('inSync' in text) return { kind: 'in_sync' };
  if (config)
    return { kind: 'config', config: new Map(Object.entries(config.config)) as Map<string, string> };
  if (policy) {
    const { preDnat = false, untracked = false } = policy.policy ?? {};
    return {
      kind: 'policy',
      key: keyFrom(policy.id),
      policy: { ...rulesFrom(policy.policy), untracked, pre_dnat: preDnat },
    };
  }
  if (profile) return { kind: 'profile', name: profile.id.name, profile: rulesFrom(profile.profile) };
  if (text.activePolicyRemove) return { kind: 'policy_removed', key: keyFrom(text.activePolicyRemove.id) };
  if (workload) {
    const { id, endpoint } = workload;
    return {
      kind: 'workload',
      key: `${id.orchestratorId} ${id.workloadId} ${id.endpointId}`,
      endpoint: {
        active: endpoint.state === 'active',
        profiles: list(endpoint.profileIds),
        nets: [...list(endpoint.ipv4Nets), ...list(endpoint.ipv6Nets)],
        tiers: tiersFrom(endpoint.tiers),
        id: { orchestrator: id.orchestratorId, workload: id.workloadId, endpoint: id.endpointId },
        name: endpoint.name,
      },
    };
  }
  if (host) {
    const { id, endpoint = {} } = host;
    return {
      kind: 'host',
      id: id.endpointId,
      endpoint: {
        name: endpoint.name ?? '',
        addresses: [...list(endpoint.expectedIpv4Addrs), ...list(endpoint.expectedIpv6Addrs)],
        profiles: list(endpoint.profileIds),
        tiers: tiersFrom(endpoint.tiers),
        untracked: tiersFrom(endpoint.untrackedTiers),
        pre_dnat: tiersFrom(endpoint.preDnatTiers),
        forward: tiersFrom(endpoint.forwardTiers),
      },
    };
  }
  return undefined;
}

t.test('recordings of Felix 3.31 and 3.32 are read as their text says', async (t) => {
  for (const name of ['k8s-basic', 'tiers', 'tiers-v331', 'hostendpoints', 'icmp-and-negation', 'burst']) {
    const messages = recorded(name);
    const said = texts(name);
    t.equal(messages.length, said.length, name);
    let compared = 0;
    for (const [i, text] of said.entries()) {
      const message = messages[i]!;
      const expected = messageFrom(text);
      const set = text.ipsetUpdate ?? text.ipsetDeltaUpdate;
      if (expected !== undefined) t.strictSame(message, expected, `${name} ${i}`);
      else if (set) {
        if (message.kind !== 'set' && message.kind !== 'set_delta') throw new Error(message.kind);
        const members = (field: 2 | 3) => [...memberTexts(message.update.bytes, field)].map(String);
        t.equal(message.update.id, set.id);
        t.strictSame(members(2), list(set.members ?? set.addedMembers), `${name} ${i}`);
        t.strictSame(members(3), list(set.removedMembers), `${name} ${i}`);
      } else continue;
      compared += 1;
    }
    t.ok(compared > 40, `${name}: ${compared}`);
  }
});

t.test('nothing in a recording is unknown or unreadable', async (t) => {
  for (const name of recordings) {
    const odd = recorded(name).filter(({ kind }) => kind === 'unknown' || kind === 'unreadable');
    t.strictSame(odd, [], name);
  }
});

t.test('frames are the same however the stream is cut', async (t) => {
  const bytes = fixture('wep-fields.bin');
  const whole = new FrameReader().read(bytes).messages.map((message) => Buffer.from(message));
  t.equal(whole.length, 35);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 40 }), (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      const reader = new FrameReader();
      const messages = at
        .slice(1)
        .flatMap((end, i) => reader.read(Buffer.from(bytes.subarray(at[i], end))).messages);
      return (
        reader.whole && messages.every((message, i) => whole[i]!.equals(message)) && messages.length === 35
      );
    }),
    { numRuns: 100 },
  );
  const reader = new FrameReader();
  const each = [...bytes].flatMap((byte) => reader.read(Uint8Array.of(byte)).messages);
  t.strictSame(
    each.map((message) => Buffer.from(message)),
    whole,
  );
});

t.test(
  'an absurd length is a fault before a byte of it is kept; a stream that stops in a message is told',
  async (t) => {
    for (const length of [2n ** 40n, 2n ** 64n - 1n, 64n * 2n ** 20n + 1n]) {
      const header = Buffer.alloc(8);
      header.writeBigUInt64LE(length);
      const reader = new FrameReader();
      const read = reader.read(Buffer.concat([frame(bytesOf({})), header]));
      t.equal(read.messages.length, 1);
      t.match(read.fault, new RegExp(`^a frame of ${length} bytes`));
    }
    const reader = new FrameReader({ frame_bytes_max: 8 });
    t.strictSame(reader.read(frame(new Uint8Array(8))).messages.length, 1);
    t.match(reader.read(frame(new Uint8Array(9))).fault, 'more than the 8');
    const cut = new FrameReader();
    t.equal(cut.read(frame(new Uint8Array(5)).subarray(0, 10)).fault, undefined);
    t.equal(cut.whole, false);
  },
);

t.test('bytes that are no message, or name no object, are an answer', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      decode(bytes);
    }),
    { numRuns: 2000 },
  );
  // Bytes of real messages with one changed.
  const { messages } = new FrameReader().read(fixture('hostendpoints.bin'));
  fc.assert(
    fc.property(fc.nat(messages.length - 1), fc.nat(), fc.nat(255), (which, at, byte) => {
      const message = Uint8Array.from(messages[which]!);
      message[at % message.length] = byte;
      decode(message);
    }),
    { numRuns: 2000 },
  );
  t.match(decode(Uint8Array.of(0x0a, 0xff)), { kind: 'unreadable', why: /^2 bytes that are no message/ });
  for (const payload of [
    { case: 'activePolicyUpdate', value: {} },
    { case: 'activePolicyRemove', value: {} },
    { case: 'activeProfileUpdate', value: { id: {} } },
    { case: 'activeProfileRemove', value: {} },
    { case: 'workloadEndpointUpdate', value: {} },
    { case: 'workloadEndpointRemove', value: {} },
    { case: 'hostEndpointUpdate', value: {} },
    { case: 'hostEndpointRemove', value: {} },
    { case: 'ipsetUpdate', value: new Uint8Array() },
    { case: 'ipsetDeltaUpdate', value: new Uint8Array() },
    { case: 'ipsetRemove', value: {} },
  ] as const)
    t.match(decode(bytesOf({ payload })), { kind: 'unreadable', why: /names no object/ }, payload.case);
});

t.test('messages of a newer Felix are unknown, those of nodes, pools and routes ignored', async (t) => {
  const field = (number: number) => Buffer.from([...varint((number << 3) | 2), 0]);
  t.strictSame(decode(field(99)), { kind: 'unknown', field: 99 });
  t.strictSame(decode(new Uint8Array()), { kind: 'unknown', field: undefined });
  for (const number of [14, 16, 21, 30, 37, 38]) t.strictSame(decode(field(number)), { kind: 'ignored' });
});

t.test('keys of WireGuard are read by node and family; what is no key is told, and is none', async (t) => {
  const key = Buffer.alloc(32, 7).toString('base64');
  const hostname = 'n1';
  const told = { kind: 'wireguard_key', node: hostname };
  const cases = [
    [
      { case: 'wireguardEndpointUpdate', value: { hostname, publicKey: key } },
      { ...told, family: 4, key },
    ],
    [
      { case: 'wireguardEndpointV6Update', value: { hostname, publicKeyV6: key } },
      { ...told, family: 6, key },
    ],
    [
      { case: 'wireguardEndpointRemove', value: { hostname } },
      { ...told, family: 4, key: undefined },
    ],
    [
      { case: 'wireguardEndpointV6Remove', value: { hostname } },
      { ...told, family: 6, key: undefined },
    ],
    [
      { case: 'wireguardEndpointUpdate', value: { hostname } },
      { ...told, family: 4, key: undefined },
    ],
  ] as const;
  for (const [payload, wanted] of cases) t.strictSame(decode(bytesOf({ payload })), wanted);
  // As Felix's protocol has it: 27 {1 hostname, 2 key}, 33 {1 hostname, 2 key}.
  const body = Buffer.concat([
    Buffer.from([0x0a, 2]),
    Buffer.from('n1'),
    Buffer.from([0x12, 44]),
    Buffer.from(key),
  ]);
  for (const [field, family] of [
    [27, 4],
    [33, 6],
  ] as const)
    t.strictSame(decode(Buffer.concat([Buffer.from([...varint((field << 3) | 2), body.length]), body])), {
      ...told,
      family,
      key,
    });
  const short = decode(
    bytesOf({ payload: { case: 'wireguardEndpointUpdate', value: { hostname, publicKey: 'AAAA' } } }),
  );
  t.match(short, { kind: 'unreadable', why: /of node n1 has no key/ });
  const nobody = decode(bytesOf({ payload: { case: 'wireguardEndpointRemove', value: {} } }));
  t.match(nobody, { kind: 'unreadable', why: /names no object/ });
});

t.test('a rule keeps the numbers of fields that this release cannot read, and of no others', async (t) => {
  const text = (number: number) => Buffer.from([...varint((number << 3) | 2), 1, 0x61]);
  // active_policy_update {1 id {2 name}, 2 policy {1 inbound_rules}}
  const rule = Buffer.concat([text(1), text(114), text(122), text(201), text(16), text(300)]);
  const inside = (number: number, bytes: Uint8Array) =>
    Buffer.concat([Buffer.from([...varint((number << 3) | 2), ...varint(bytes.length)]), bytes]);
  const policy = inside(2, inside(1, rule));
  const message = decode(inside(7, Buffer.concat([inside(1, text(2)), policy])));
  t.match(message, { kind: 'policy', policy: { inbound: [{ action: 'a', unknown: [16, 300] }] } });
});

t.test('a rule says by its annotation which network it is for', async (t) => {
  const networkOf = (annotations: Record<string, string> | undefined) => {
    const rule = { action: 'Allow', ...(annotations && { metadata: { annotations } }) };
    const message = decode(
      bytesOf({
        payload: {
          case: 'activePolicyUpdate',
          value: { id: { name: 'a', kind: 'NetworkPolicy' }, policy: { outboundRules: [rule] } },
        },
      }),
    );
    return message.kind === 'policy' ? message.policy.outbound[0]?.network : message;
  };
  const annotation = 'extensions.projectcalico.org/network';
  t.strictSame(
    [undefined, { note: 'kept' }, { [annotation]: '' }, { [annotation]: 'red', note: 'kept' }].map(networkOf),
    [undefined, undefined, undefined, 'red'],
  );
});

t.test('sub-messages that are missing leave what is closed', async (t) => {
  const id = { orchestratorId: 'k8s', workloadId: 'a/b', endpointId: 'eth0' };
  const workload = bytesOf({ payload: { case: 'workloadEndpointUpdate', value: { id } } });
  t.match(decode(workload), { kind: 'workload', endpoint: { active: false, profiles: [], tiers: [] } });
  const policy = bytesOf({ payload: { case: 'activePolicyUpdate', value: { id: { name: 'a' } } } });
  t.match(decode(policy), { policy: { inbound: [], outbound: [], untracked: false } });
  const tiers = [{ name: 'x', ingressPolicies: [Uint8Array.of(0x12, 9)] }];
  const broken = decode(
    bytesOf({ payload: { case: 'workloadEndpointUpdate', value: { id, endpoint: { tiers } } } }),
  );
  t.match(broken, {
    endpoint: { tiers: [{ end: 'deny', ingress: [{ key: 'unreadable reference 1209', staged: false }] }] },
  });
});

t.test('answers to Felix are framed, numbered, and have what it dies without', async (t) => {
  const encoder = new AnswerEncoder();
  const workload = recorded('wep-fields').find((message) => message.kind === 'workload');
  if (workload?.kind !== 'workload') throw new Error('no endpoint');
  const { endpoint } = workload;
  const answers = [
    { kind: 'process', now: new Date(0), uptime: 12.5 },
    { kind: 'workload', endpoint, state: 'up' },
    { kind: 'workload_removed', id: endpoint.id },
    { kind: 'host', id: 'h', state: 'error' },
    { kind: 'host_removed', id: 'h' },
    { kind: 'wireguard', public_key: 'k', ip_version: 6 },
  ] as const;
  const frames = answers.map((answer) => encoder.encode(answer));
  const { messages } = new FrameReader().read(Buffer.concat(frames));
  t.equal(messages.length, answers.length);
  // By hand: 3 {1 "1970-01-01T00:00:00.000Z", 2 12.5}; number 0 is not written.
  t.equal(
    Buffer.from(messages[0]!).toString('hex'),
    `1a23${`0a18${Buffer.from('1970-01-01T00:00:00.000Z').toString('hex')}110000000000002940`}`,
  );
  t.equal(Buffer.from(messages[3]!).toString('hex'), '220e0a0312016812070a056572726f724003');
  const second = Buffer.from(messages[1]!);
  for (const text of ['k8s', endpoint.id.workload, 'up', 'active', endpoint.name, ...endpoint.nets])
    t.ok(second.includes(text), text);
  // What a driver has sent to a real Felix is read by the same schema.
  const real = new FrameReader().read(fixture('status.from.bin')).messages;
  const kinds = real.slice(0, 3).map((bytes) => fromBinary(FromDataplaneSchema, bytes).payload.case);
  t.strictSame(kinds, [
    'processStatusUpdate',
    'workloadEndpointStatusUpdate',
    'workloadEndpointStatusUpdate',
  ]);
});

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}
