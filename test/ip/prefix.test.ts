import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { isGroup, isLinkLocal, networkOf, splitPrefix } from '../../src/ip/prefix.js';

t.test('networkOf clears the host bits', async (t) => {
  const cases: [string, string][] = [
    ['10.0.0.2/24', '10.0.0.0/24'],
    ['10.0.0.255/25', '10.0.0.128/25'],
    ['10.255.255.255/9', '10.128.0.0/9'],
    ['10.0.0.2/32', '10.0.0.2/32'],
    ['10.0.0.2/0', '0.0.0.0/0'],
    ['fd00::1:2/64', 'fd00::/64'],
    ['fd00::ffff/113', 'fd00::8000/113'],
    ['FD00:0:0::2/128', 'fd00::2/128'],
    ['fd00::2/0', '::/0'],
  ];
  for (const [prefix, network] of cases) t.equal(networkOf(prefix), network, prefix);
});

t.test('the network of a network is itself, and holds no bit behind its length', async () => {
  const prefix = fc.oneof(
    fc.tuple(fc.ipV4(), fc.nat(32)).map(([ip, length]) => `${ip}/${length}`),
    fc.tuple(fc.ipV6(), fc.nat(128)).map(([ip, length]) => `${ip}/${length}`),
  );
  fc.assert(
    fc.property(prefix, (text) => {
      const network = networkOf(text);
      return networkOf(network) === network && splitPrefix(network).length === splitPrefix(text).length;
    }),
  );
});

t.test('link-local is fe80::/10 of IPv6 alone', async (t) => {
  const cases: [string, boolean][] = [
    ['fe80::1/64', true],
    ['fe80::1', true],
    ['febf:ffff::1/128', true],
    ['fec0::1/64', false],
    ['fd00::fe80/64', false],
    ['::/0', false],
    ['169.254.0.1/16', false],
  ];
  for (const [text, expected] of cases) t.equal(isLinkLocal(text), expected, text);
});

t.test('splitPrefix separates address and length, in canonical spelling', async (t) => {
  t.same(splitPrefix('10.0.0.2/24'), { address: '10.0.0.2', length: 24 });
  t.same(splitPrefix('FD00:0::2/64'), { address: 'fd00::2', length: 64 });
  t.ok(isIPv6(splitPrefix('fe80::1/10').address));
});

t.test('a group is told from an address that begins with the same letters', async (t) => {
  const groups = ['ff02::1', 'ff00::/8', 'fffe:1::/32', '224.0.0.0/4', '239.255.255.250'];
  const others = ['ff::1', 'ff:0:40::/42', 'fe80::1', '2001:db8::ff02', '223.0.0.1', '240.0.0.1', '24.0.0.1'];
  for (const group of groups) t.equal(isGroup(group), true, group);
  for (const other of others) t.equal(isGroup(other), false, other);
});
