import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import {
  Attributes,
  acknowledgementOf,
  type Message,
  MessageWriter,
  messagesOf,
  NLMSG_ERROR,
} from '../../../src/host/netlink/netlink-message.js';
import { RTM } from '../../../src/host/netlink/rtnetlink-constants.js';
import {
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  decodeNexthop,
  decodeRoute,
  decodeRule,
} from '../../../src/host/netlink/rtnetlink-decode.js';
import { describeChange, encodeChange } from '../../../src/host/netlink/rtnetlink-encode.js';
import { eventsOf } from '../../../src/host/netlink/rtnetlink-events.js';
import { formatAddress, formatMac, parseAddress, parseMac, parsePrefix } from '../../../src/ip/text.js';
import type { Address, NetworkChange, Route } from '../../../src/linux/network.js';

function encode(change: NetworkChange): Buffer {
  const writer = new MessageWriter();
  encodeChange(writer, change, 7, () => 33);
  return Buffer.from(writer.bytes());
}

function only(bytes: Buffer): Message {
  const [message] = [...messagesOf(bytes)];
  return message!;
}

const octet = fc.integer({ min: 0, max: 255 });
const ipv4 = fc.tuple(octet, octet, octet, octet).map((bytes) => bytes.join('.'));
// Words that are zero more often than not: the canonical form is about their runs.
const word = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 0xffff }));
const ipv6 = fc.array(word, { minLength: 8, maxLength: 8 }).map((words) => {
  const bytes = Buffer.alloc(16);
  for (const [i, value] of words.entries()) bytes.writeUInt16BE(value, i * 2);
  return formatAddress(bytes);
});
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => formatMac(Buffer.from(bytes)));

t.test('addresses have one text for each value', async (t) => {
  fc.assert(fc.property(fc.oneof(ipv4, ipv6), (text) => formatAddress(parseAddress(text)) === text));
  fc.assert(fc.property(mac, (text) => formatMac(parseMac(text)) === text));
  const canonical: [string, string][] = [
    ['::', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['2001:DB8::0:1', '2001:db8::1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['::ffff:10.0.0.1', '::ffff:a00:1'],
    ['fe80::', 'fe80::'],
  ];
  for (const [text, expected] of canonical) t.equal(formatAddress(parseAddress(text)), expected, text);
  for (const text of ['', '1.2.3', '1.2.3.256', '::1%eth0', ':::', 'g::', '1.2.3.4/24'])
    t.throws(() => parseAddress(text), RangeError, text);
  for (const text of ['1.2.3.4/33', '1.2.3.4/', '1.2.3.4/-1', '::/129', '::/x'])
    t.throws(() => parsePrefix(text), RangeError, text);
  t.match(parsePrefix('10.0.0.1'), { length: 32, family: 4 });
  t.throws(() => parseMac('02:00:00:00:00'), RangeError);
});

t.test('a writer grows in the middle of any value', async (t) => {
  for (const width of [1, 2, 4] as const) {
    const writer = new MessageWriter();
    const count = 5000;
    for (let i = 0; i < count; i++) {
      if (width === 1) writer.u8(i & 0xff);
      else if (width === 2) writer.u16(i);
      else writer.u32(i);
    }
    const bytes = writer.bytes();
    t.equal(bytes.length, count * width);
    const wrong = Array.from({ length: count }, (_, i) => i).filter(
      (i) => bytes.readUIntLE(i * width, width) !== (width === 1 ? i & 0xff : i),
    );
    t.same(wrong, [], `values of ${width} bytes`);
  }
});

t.test('requests are the bytes that the kernel reads', async (t) => {
  // By hand from the kernel's headers, independent of the tables in the code.
  t.equal(
    encode({ do: 'add_address', address: { link: 7, family: 4, prefix: '10.0.0.1/24' } }).toString('hex'),
    '280000001400050607000000000000000218000007000000080002000a000001080001000a000001',
  );
  t.equal(
    encode({ do: 'set_link', link: 7, up: true, mtu: 1400 }).toString('hex'),
    '28000000130005000700000000000000000000000700000001000000010000000800040078050000',
  );
  t.equal(
    encode({
      do: 'replace_route',
      route: { family: 4, prefix: '0.0.0.0/0', next_hops: [{ oif: 7, gateway: '10.0.0.254' }] },
    }).toString('hex'),
    '3400000018000505070000000000000002000000fe03000100000000' +
      '08000f00fe000000' +
      '080005000a0000fe' +
      '0800040007000000',
  );
  t.equal(
    encode({ do: 'move_link', link: 7, netns: '/x', name: 'eth0' }).toString('hex'),
    '34000000130005000700000000000000' +
      '00000000070000000000000000000000' +
      '08001c0021000000' +
      '09000300' +
      '6574683000000000',
  );
});

/** An address or route as its dump shows it is the same after it has been asked for and read back. */
t.test('what is asked for is what is read back', async (t) => {
  const decode = <T>(change: NetworkChange, read: (payload: Buffer) => T) =>
    read(only(encode(change)).payload);
  const lifetime = fc.option(fc.integer({ min: 1, max: 2 ** 31 }), { nil: undefined });
  const address = fc
    .record(
      {
        link: fc.integer({ min: 1, max: 1000 }),
        ip: fc.oneof(ipv4, ipv6),
        peer: fc.boolean(),
        metric: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
        valid_s: lifetime,
      },
      { requiredKeys: ['link', 'ip', 'peer'], noNullPrototype: true },
    )
    .map(({ ip, peer, valid_s, metric, link }): Address => {
      const family = ip.includes(':') ? 6 : 4;
      const other = family === 4 ? '192.0.2.77' : '2001:db8::77';
      return {
        link,
        family,
        prefix: `${ip}/${family === 4 ? 24 : 64}`,
        scope: 0,
        flags: 0x200,
        ...(peer && ip !== other ? { peer: other } : {}),
        ...(metric === undefined ? {} : { metric }),
        ...(valid_s === undefined ? {} : { valid_s, preferred_s: valid_s - 1 }),
      };
    });
  fc.assert(
    fc.property(address, (value) => {
      assert.deepStrictEqual(decode({ do: 'add_address', address: value }, decodeAddress), value);
    }),
  );

  const hop = (family: 4 | 6) =>
    fc.record(
      {
        oif: fc.integer({ min: 1, max: 1000 }),
        gateway: family === 4 ? fc.oneof(ipv4, ipv6) : ipv6,
        onlink: fc.constant(true),
      },
      { requiredKeys: ['oif'], noNullPrototype: true },
    );
  const route = fc.constantFrom(4 as const, 6 as const).chain((family) =>
    fc
      .record(
        {
          table: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
          type: fc.constantFrom('unicast' as const, 'local' as const, 'blackhole' as const),
          protocol: octet,
          scope: octet,
          metric: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
          tos: fc.integer({ min: 1, max: 255 }),
          prefsrc: family === 4 ? ipv4 : ipv6,
          metrics: fc.record(
            { mtu: fc.integer({ min: 1, max: 65535 }), lock: fc.constant(4) },
            { noNullPrototype: true },
          ),
          congctl: fc.constant('bbr'),
          preference: fc.constantFrom(1, 3),
          next_hops: fc.array(hop(family), { minLength: 0, maxLength: 4 }),
        },
        {
          requiredKeys: ['table', 'type', 'protocol', 'scope', 'metric', 'next_hops'],
          noNullPrototype: true,
        },
      )
      .map((rest): Route => {
        const prefix = family === 4 ? '10.0.0.0/8' : '2001:db8::/32';
        const flags = rest.next_hops.length === 1 && rest.next_hops[0]?.onlink ? { flags: 4 } : {};
        const next_hops = rest.next_hops.map((h, i) =>
          rest.next_hops.length > 1 && i > 0 ? { ...h, weight: i + 1 } : h,
        );
        return { family, prefix, ...rest, next_hops, ...flags } as Route;
      }),
  );
  fc.assert(
    fc.property(route, (value) => {
      assert.deepStrictEqual(decode({ do: 'add_route', route: value }, decodeRoute), value);
    }),
  );

  t.strictSame(
    decode(
      {
        do: 'set_neighbour',
        neighbour: { link: 3, family: 6, address: 'fe80::1', mac: '02:00:00:00:00:01' },
      },
      decodeNeighbour,
    ),
    { link: 3, family: 6, address: 'fe80::1', mac: '02:00:00:00:00:01', state: 0x80, flags: 0 },
  );
  const rule = {
    family: 4 as const,
    priority: 9,
    action: 1,
    table: 1000,
    source: '10.0.0.0/8',
    destination: '10.1.0.0/16',
    iif: 'eth0',
    oif: 'eth1',
    fwmark: 1,
    fwmask: 255,
    tos: 16,
    invert: true,
    suppress_prefixlength: 0,
    l3mdev: true,
    protocol: 4,
    ip_protocol: 6,
  };
  t.strictSame(decode({ do: 'add_rule', rule }, decodeRule), rule);
});

t.test('defaults are those of ip route', async (t) => {
  const scope = (route: Partial<Route>) =>
    only(encode({ do: 'add_route', route: { family: 4, prefix: '10.0.0.0/8', ...route } })).payload.readUInt8(
      6,
    );
  t.equal(scope({ next_hops: [{ oif: 1 }] }), 253, 'on link');
  t.equal(scope({ next_hops: [{ oif: 1, gateway: '10.0.0.1' }] }), 0, 'by a gateway');
  t.equal(scope({ type: 'local', next_hops: [{ oif: 1 }] }), 254, 'own');
  t.equal(scope({ type: 'blackhole' }), 0, 'nowhere');
  t.equal(scope({ family: 6, prefix: '::/0', next_hops: [{ oif: 1 }] }), 0, 'IPv6 has none');
  const removal = only(encode({ do: 'delete_route', route: { family: 4, prefix: '10.0.0.0/8' } })).payload;
  t.strictSame([...removal.subarray(5, 8)], [0, 255, 0], 'what is not named in a delete matches all');
});

t.test('attributes that cannot be given back are named', async (t) => {
  const writer = new MessageWriter();
  writer.u8(2).u8(8).u8(0).u8(0).u8(254).u8(3).u8(0).u8(1).u32(0);
  writer
    .attribute(1, Buffer.from([10, 0, 0, 0]))
    .attributeU32(4, 3)
    .attributeU16(21, 6)
    .attributeU32(22, 0);
  writer.attributeU32(11, 0x1_0005);
  writer.attributeU8(26, 1).attributeU32(99, 0);
  const route = decodeRoute(writer.bytes());
  t.strictSame(route?.unsupported, ['ttl-propagate', 'attribute 99', 'encapsulation 6']);
  t.match(route?.next_hops, [{ realm: 0x1_0005, encap: { type: 6, data: '00000000' } }]);
});

t.test('the end of a bad message is an error, never a read past it', async (t) => {
  const good = encode({
    do: 'add_route',
    route: { family: 6, prefix: 'fd00::/8', next_hops: [{ oif: 1, gateway: 'fe80::1' }, { oif: 2 }] },
  });
  const readers = [decodeLink, decodeAddress, decodeRoute, decodeNeighbour, decodeRule];
  fc.assert(
    fc.property(
      fc.nat(good.length - 1),
      octet,
      fc.nat(good.length),
      fc.constantFrom(...readers),
      (at, value, length, read) => {
        const bytes = Buffer.from(good);
        bytes[at] = value;
        try {
          for (const { payload } of messagesOf(bytes.subarray(0, length))) read(payload);
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
        }
      },
    ),
    { numRuns: 3000 },
  );
  t.throws(() => [...messagesOf(Buffer.alloc(16))], RangeError, 'a length of zero would never end');
  t.throws(() => new Attributes(Buffer.from([3, 0, 1, 0])), RangeError);
});

t.test('the kernel tells errors in its own words where it has some', async (t) => {
  const acknowledgement = (flags: number, errno: number, request: Buffer) => {
    const body = new MessageWriter();
    body.u32(-errno >>> 0);
    const words = new MessageWriter().attributeText(1, 'No such thing').bytes();
    const payload = Buffer.concat([body.bytes(), request, words]);
    return acknowledgementOf({ type: NLMSG_ERROR, flags, sequence: 1, payload });
  };
  const header = encode({ do: 'delete_link', link: 1 }).subarray(0, 16);
  const request = encode({ do: 'delete_link', link: 1 });
  t.strictSame(acknowledgement(0x300, 19, header), { errno: 19, detail: 'No such thing' }, 'capped');
  t.strictSame(
    acknowledgement(0x200, 19, request),
    { errno: 19, detail: 'No such thing' },
    'with the request',
  );
  t.strictSame(acknowledgement(0x100, 0, header), { errno: 0 });
});

t.test('a change is described by its object', async (t) => {
  const route = { family: 4, prefix: '10.0.0.0/8', next_hops: [{ oif: 3, gateway: '10.0.0.1' }] } as const;
  t.equal(describeChange({ do: 'add_route', route }), '10.0.0.0/8 via 10.0.0.1 link 3 table 254 metric 0');
  t.equal(describeChange({ do: 'set_link', link: 3, up: true }), 'link 3 {"up":true}');
});

/** What a kernel 6.18 has told of a host with links, addresses, routes, rules, neighbours and nexthop objects of all sorts. */
const recorded = readFileSync(
  new URL('../../../../test/host/netlink/recorded-messages.txt', import.meta.url),
  'utf8',
)
  .trim()
  .split('\n')
  .map((line) => Buffer.from(line, 'hex'));

const decoders: Readonly<Record<number, (payload: Buffer) => unknown>> = {
  [RTM.NEWLINK]: decodeLink,
  [RTM.NEWADDR]: decodeAddress,
  [RTM.NEWROUTE]: decodeRoute,
  [RTM.NEWNEIGH]: decodeNeighbour,
  [RTM.NEWRULE]: decodeRule,
  [RTM.NEWNEXTHOP]: decodeNexthop,
};

t.test('what a kernel has told can be read', async (t) => {
  for (const bytes of recorded) {
    const { type, payload } = only(bytes);
    t.ok(decoders[type]!(payload), `type ${type}`);
  }
  const objects = recorded.map(only).flatMap(({ type, payload }) => {
    const object = type === RTM.NEWNEXTHOP ? decodeNexthop(payload) : undefined;
    return object ? [object] : [];
  });
  t.match(objects.find(({ id }) => id === 10)?.group, [{ id: 5, weight: 3 }]);
  t.match(objects.find(({ id }) => id === 11)?.unsupported, ['resilient']);
});

t.test('no byte that is wrong throws anything but a RangeError, or ends the watch of events', async (t) => {
  let seed = 26;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const extremes = [0, 1, 3, 4, 5, 0x7f, 0x80, 0xff];
  const inputs = 100_000;
  let read = 0;
  const other: unknown[] = [];
  for (let n = 0; n < inputs; n++) {
    const bytes = Buffer.from(recorded[random(recorded.length)]!);
    // The type stays one that is looked at.
    for (let count = 1 + random(6); count > 0; count--) {
      const at = random(8) === 0 ? random(4) : 8 + random(bytes.length - 8);
      bytes[at] = random(2) === 0 ? random(256) : extremes[random(extremes.length)]!;
    }
    const input = random(8) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes;
    const events = eventsOf(input);
    if (events.length > 1 + input.length / 16) other.push(`${events.length} events of ${input.length} bytes`);
    try {
      for (const { type, payload } of messagesOf(input)) if (decoders[type]?.(payload)) read += 1;
    } catch (error) {
      if (!(error instanceof RangeError)) other.push(error);
    }
  }
  t.same(other.slice(0, 5), []);
  t.ok(read > inputs / 4, `${read} of ${inputs} could still be read`);
});
