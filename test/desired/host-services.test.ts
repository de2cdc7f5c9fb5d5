import fc from 'fast-check';
import t from 'tap';
import { host_vips_max, hostRules, no_host_rules } from '../../src/desired/host-services.js';
import { servedAt, silence_max, silenceRules } from '../../src/desired/host-silence.js';
import { type HostVip, host_backends_max } from '../../src/desired/services/vips.js';

const api: HostVip = {
  address: '10.96.0.1',
  port: 443,
  protocol: 'tcp',
  backends: [{ address: '192.0.2.2', port: 6443 }],
};

t.test('the table for one VIP with one back end and one with several', async (t) => {
  const dns: HostVip = {
    address: 'FD00:96:0::A',
    port: 53,
    protocol: 'udp',
    backends: [
      { address: 'fd00::10', port: 5353 },
      { address: 'fd00::9', port: 5353 },
      { address: 'fd00:0::9', port: 5353 },
    ],
  };
  const { text, vips, faults } = hostRules([dns, api]);
  t.equal(vips, 2);
  t.equal(faults.size, 0);
  t.equal(
    text,
    `table inet calico_vpp_services
delete table inet calico_vpp_services
table inet calico_vpp_services {
 map one4 {
  type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
  elements = {
   10.96.0.1 . tcp . 443 : 192.0.2.2 . 6443
  }
 }
 map many4 {
  type ipv4_addr . inet_proto . inet_service : verdict
 }
 map one6 {
  type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
 }
 map many6 {
  type ipv6_addr . inet_proto . inet_service : verdict
  elements = {
   fd00:96::a . udp . 53 : goto to_0
  }
 }
 map choices6_0 {
  typeof numgen random mod 2 : ip6 daddr . th dport
  elements = {
   0 : fd00::10 . 5353,
   1 : fd00::9 . 5353
  }
 }
 chain to_0 {
  meta l4proto udp dnat ip6 to numgen random mod 2 offset 0 map @choices6_0
 }
 chain output {
  type nat hook output priority -90; policy accept;
  meta l4proto { tcp, udp, sctp } dnat ip to ip daddr . meta l4proto . th dport map @one4
  ip daddr . meta l4proto . th dport vmap @many4
  meta l4proto { tcp, udp, sctp } dnat ip6 to ip6 daddr . meta l4proto . th dport map @one6
  ip6 daddr . meta l4proto . th dport vmap @many6
 }
}
`,
  );
  t.equal(no_host_rules, 'table inet calico_vpp_services\ndelete table inet calico_vpp_services\n');
});

t.test('affinity chooses by the source address, always the same', async (t) => {
  const backends = [1, 2, 3].map((at) => ({ address: `192.0.2.${at}`, port: 80 }));
  const { text } = hostRules([{ ...api, backends, affinity: true }]);
  t.match(text, /meta l4proto tcp dnat ip to jhash ip saddr mod 3 seed 0x0 offset 0 map @choices4_0/);
  t.notMatch(text, /to numgen/);
});

t.test('no VIP, or none with a back end: no table', async (t) => {
  t.equal(hostRules([]).text, undefined);
  t.match(hostRules([{ ...api, backends: [] }]), { text: undefined, vips: 0 });
});

t.test(
  'what is no VIP or no back end is left out and named, and nothing of it gets into the text',
  async (t) => {
    const bad: HostVip[] = [
      { ...api, address: '10.96.0.2 } ; flush ruleset' },
      { ...api, address: '0.0.0.0' },
      { ...api, address: '224.0.0.1' },
      { ...api, port: 0 },
      { ...api, port: 1.5 },
      { ...api, port: 65_536 },
      { ...api, protocol: 'icmp' as 'tcp' },
      { ...api, address: '10.96.0.9', backends: [{ address: 'fd00::1', port: 1 }] },
      { ...api, address: '10.96.0.10', backends: [{ address: '192.0.2.1', port: 70_000 }] },
    ];
    const { text, vips, faults } = hostRules([...bad, api]);
    t.equal(vips, 1);
    t.equal(text, hostRules([api]).text);
    t.equal(faults.size, bad.length);
    t.match(
      faults.get('10.96.0.9 443 tcp'),
      /back end fd00::1 port 1 is no address and port of the same family/,
    );
    const many = Array.from({ length: 500 }, (_, port) => ({ ...api, port: -port }));
    t.equal(hostRules(many).faults.size, 100, 'faults are bounded');
  },
);

t.test('what is too much is cut, the same for everybody, and named', async (t) => {
  const backends = Array.from({ length: 1000 }, (_, at) => ({
    address: `10.0.${at >> 8}.${at & 255}`,
    port: 80,
  }));
  const cut = hostRules([{ ...api, backends: [...backends].reverse() }]);
  t.match(cut.text, new RegExp(`mod ${host_backends_max} offset 0 `));
  t.equal(cut.text?.match(/ : 10\.0\./g)?.length, host_backends_max);
  t.match(cut.text, / 0 : 10\.0\.0\.0 \. 80,/);
  t.match(cut.faults.get('10.96.0.1 443 tcp'), /1000 back ends/);
  const vips = Array.from({ length: host_vips_max + 2 }, (_, at) => ({ ...api, port: 1 + at }));
  const [one, other] = [hostRules(vips), hostRules([...vips].reverse())];
  t.equal(one.vips, host_vips_max);
  t.equal(one.faults.size, 2);
  t.ok(one.text === other.text);
});

t.test('VIPs with the same back ends share a chain', async (t) => {
  const backends = [1, 2].map((at) => ({ address: `192.0.2.${at}`, port: 80 }));
  const { text = '' } = hostRules([1, 2, 3].map((port) => ({ ...api, port, backends })));
  t.equal(text.match(/chain to_/g)?.length, 1);
  t.equal(text.match(/goto to_0/g)?.length, 3);
});

t.test('the same VIPs give the same text in whatever order and however often they come', async () => {
  const backend = fc.record({
    address: fc.constantFrom('192.0.2.1', '192.0.2.2', '10.0.0.1', 'fd00::1', 'FD00:0::1', 'x'),
    port: fc.integer({ min: 0, max: 3 }),
  });
  const vip: fc.Arbitrary<HostVip> = fc.record({
    address: fc.constantFrom('10.96.0.1', '10.96.0.2', 'fd00:96::1', '::'),
    port: fc.integer({ min: 0, max: 3 }),
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
    backends: fc.array(backend, { maxLength: 4 }),
  });
  fc.assert(
    fc.property(fc.array(vip, { maxLength: 8 }), (vips) => {
      const once = hostRules(vips);
      const mirrored = [...vips]
        .reverse()
        .map((each) => ({ ...each, backends: [...each.backends].reverse() }));
      const again = hostRules([...mirrored, ...vips]);
      return once.text === again.text && once.vips === again.vips;
    }),
  );
});

t.test('what Linux is silent about: the same text in whatever order and spelling', async (t) => {
  const served = [
    { address: 'FD00:0::2', port: 53, protocol: 'udp' },
    { address: '192.0.2.2', port: 30080, protocol: 'tcp' },
  ] as const;
  const text = silenceRules(served);
  t.equal(silenceRules([...served].reverse()), text);
  t.equal(silenceRules([...served, { ...served[0], address: 'fd00::2' }]), text);
  t.match(text, /served4[^}]*\n {3}192\.0\.2\.2 \. tcp \. 30080\n/);
  t.match(text, /served6[^}]*\n {3}fd00::2 \. udp \. 53\n/);
  t.equal(silenceRules([]), undefined);
  const web = { address: '192.0.2.2', port: 80, protocol: 'tcp' } as const;
  const on_host = { ...web, address: '192.0.2.9', backends: [{ address: '192.0.2.2', port: 80 }] };
  t.equal(
    silenceRules([{ ...web, backends: [web] }]),
    undefined,
    'a process of the host is its own back end',
  );
  t.notMatch(silenceRules([web, on_host]), '192.0.2.2', 'or that of another service');
  t.match(silenceRules([{ ...web, protocol: 'udp' }, on_host]), '192.0.2.2', 'by this protocol');
  t.equal(silenceRules([{ address: 'odd', port: 1, protocol: 'tcp' }]), undefined);
  const many = Array.from({ length: silence_max + 1 }, (_, port) => ({ ...served[1], port }));
  t.equal(silenceRules(many)!.split(' . tcp . ').length - 1, silence_max, 'no more than the kernel takes');
  t.strictSame(servedAt('translation:udp/fd00::2/53'), { ...served[0], address: 'fd00::2' });
  t.equal(servedAt('route:0/10.0.0.0/8'), undefined);
});
