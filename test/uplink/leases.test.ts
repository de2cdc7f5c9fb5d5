import t from 'tap';
import { captureLink } from '../../src/host/undo/capture.js';
import type { Address, Route } from '../../src/linux/network.js';
import type { CapturedUplink } from '../../src/uplink/captured.js';
import {
  lostLeases,
  replaced,
  unreached,
  withLease,
  withLeased,
  withLeases,
  withoutOldLeases,
} from '../../src/uplink/leases.js';
import { isNothing } from '../../src/uplink/lost.js';
import { specOf, UplinkLab } from './uplink-lab.js';

/** An uplink with 10.0.0.2/24 and fd00::9/128 leased, fd00::2/64 advertised, 10.0.0.100/32 its own; and a route of another link from there. */
function start() {
  const lab = new UplinkLab();
  const own = lab.network.open();
  const link = own.link('eth0')!.index;
  const other = lab.network.addPhysical({ name: 'eth9', mac: '02:00:00:00:00:09' });
  own.apply({ do: 'set_link', link: other, up: true });
  const lease = { link, valid_s: 60, preferred_s: 60 } as const;
  own.apply({ do: 'replace_address', address: { ...lease, family: 4, prefix: '10.0.0.2/24' } });
  own.apply({ do: 'add_address', address: { ...lease, family: 6, prefix: 'fd00::9/128' } });
  own.apply({ do: 'replace_address', address: { ...lease, family: 6, prefix: 'fd00::2/64', flags: 2 } });
  own.apply({
    do: 'add_route',
    route: { family: 4, prefix: '10.99.0.0/16', prefsrc: '10.0.0.2', next_hops: [{ oif: other }] },
  });
  const [before] = lab.host.capture([specOf()]);
  return { lab, own, link, before: before! };
}

const prefixes = (all: readonly { readonly prefix: string }[]) => all.map(({ prefix }) => prefix).sort();

/** As a tap has it for which nobody leases anything. */
const kept = ({ addresses }: CapturedUplink): Address[] =>
  addresses.map(({ valid_s: _, preferred_s: __, ...address }) => address);

t.test('a host whose address was lent once may be lent another one', async (t) => {
  const { lab, own, link, before } = start();
  t.equal(before.leased, true);
  own.apply({ do: 'delete_address', address: { link, family: 4, prefix: '10.0.0.2/24' } });
  const [without] = lab.host.capture([specOf()], [before]);
  t.equal(without!.leased, true, 'also when it is gone');
  const of_ip6 = before.addresses.filter(({ family }) => family === 6);
  const { leased: _, ...never } = before;
  t.equal(
    withLeased<CapturedUplink>({ ...never, addresses: of_ip6 }).leased,
    undefined,
    'DHCPv6 asks by a group',
  );
  t.equal(withLeased<CapturedUplink>({ ...never, addresses: kept(before) }).leased, undefined);
});

t.test('what is gone of a lease is its address, what leads by it, and nothing else', async (t) => {
  const { before } = start();
  const { routes } = before;
  t.ok(isNothing(lostLeases(before, { addresses: kept(before), routes })), 'all is there');
  const all = lostLeases(before, { addresses: [], routes: [] });
  t.same(prefixes(all.addresses), ['10.0.0.2/24', 'fd00::9/128'], 'not what is the host’s own');
  t.same(
    prefixes(all.routes),
    ['0.0.0.0/0', '10.0.0.0/24', '10.60.0.0/16'],
    'none from an address that is gone',
  );
  const single = kept(before).filter(({ prefix }) => prefix === '10.0.0.100/32');
  t.ok(prefixes(lostLeases(before, { addresses: single, routes: [] }).routes).includes('10.50.0.0/16'));
  t.same(prefixes(all.foreign_routes), ['10.99.0.0/16']);

  const without = kept(before).filter(({ prefix }) => prefix !== 'fd00::9/128');
  const six = lostLeases(before, { addresses: without, routes: [] });
  t.same(prefixes(six.addresses), ['fd00::9/128']);
  t.ok(prefixes(six.routes).includes('0.0.0.0/0'), 'a default route that went without its address');
  const there = routes.filter(({ prefix }) => prefix !== '10.60.0.0/16');
  t.ok(
    isNothing(lostLeases(before, { addresses: kept(before), routes: there })),
    'any other is the host’s to remove',
  );
});

/** A default route, by 10.0.0.1 or as it is said. */
const byDefault = (changes: Partial<Route> = {}): Route => ({
  ...start().before.routes.find(({ prefix }) => prefix === '0.0.0.0/0')!,
  ...changes,
});

t.test('a client that has answered loses nothing, once it has a way out', async (t) => {
  const { before } = start();
  const lease = before.addresses.find(({ prefix }) => prefix === '10.0.0.2/24')!;
  const four = (address: Address, ...routes: readonly Route[]) =>
    prefixes(
      lostLeases(before, { addresses: [address], routes }).addresses.filter(({ family }) => family === 4),
    );
  t.same(four(lease), [], 'the same one');
  const other = { ...lease, prefix: '10.0.0.77/24' };
  t.same(four(other, byDefault()), [], 'another one');
  t.same(four(other), ['10.0.0.2/24'], 'it is not done yet');
  const elsewhere = byDefault({ next_hops: [{ oif: 1, gateway: '10.9.0.1' }] });
  t.same(four(other, elsewhere), ['10.0.0.2/24'], 'by a gateway that it does not reach');
  t.same(four({ ...lease, prefix: '10.0.0.250/32' }, byDefault()), ['10.0.0.2/24'], 'a virtual address');
  t.same(four({ ...other, preferred_s: 0 }, byDefault()), ['10.0.0.2/24'], 'a virtual address of a subnet');
  const single = { ...lease, prefix: '10.8.0.2/32' };
  t.same(
    four(single, byDefault({ prefsrc: '10.8.0.2' })),
    [],
    'one that is alone in its prefix, with a route',
  );
});

t.test('whoever gives an address up on purpose does not get it back', async (t) => {
  const { before } = start();
  const [lease] = kept(before).filter(({ prefix }) => prefix === '10.0.0.2/24');
  const lost = (had: CapturedUplink, ...there: readonly Partial<Address>[]) =>
    prefixes(
      lostLeases(had, { addresses: there.map((each) => ({ ...lease!, ...each })), routes: [] }).addresses,
    );
  t.same(lost(before, { prefix: '10.0.0.88/24' }), ['fd00::9/128'], 'the host is static by now');
  t.same(lost(before, { prefix: '169.254.7.7/16' }), ['10.0.0.2/24', 'fd00::9/128'], 'in want of a server');
  t.same(lost(before, { prefix: '10.0.0.100/32' }), ['10.0.0.2/24', 'fd00::9/128'], 'no network');
  t.same(lost(before, { family: 6, prefix: 'fd00::5/64' }), ['10.0.0.2/24']);
  t.same(lost(before, { family: 6, prefix: 'fd00::2/64' }), ['10.0.0.2/24', 'fd00::9/128'], 'advertised');
  const vip = { ...lease!, prefix: '10.0.0.250/32', valid_s: 60, preferred_s: 60 };
  const with_vip = { ...before, addresses: [...before.addresses, vip] };
  t.same(lost(with_vip), ['10.0.0.2/24', 'fd00::9/128'], 'a virtual one may be another node’s by now');
  const [route] = lostLeases(
    { ...before, routes: [byDefault({ prefsrc: '10.0.0.250' })] },
    { addresses: [], routes: [] },
  ).routes;
  t.notOk(route, 'nor is there a route from it');
  const alone = { ...before, addresses: [{ ...vip, prefix: '10.8.0.2/32' }, vip] };
  t.same(lost(alone), ['10.8.0.2/32'], 'as a cloud gives it to its machines');
});

t.test('an uplink that lacks its lease is captured with it, whatever its index is by now', async (t) => {
  const { own, before } = start();
  const { link, ...state } = captureLink(own, 'eth0')!;
  const index = 42;
  const none = { addresses: [], routes: [], foreign_routes: [], others: new Map() };
  const now = { ...state, ...none, link: { ...link, index } };
  const lent = withLease(before, now);
  t.same(prefixes(lent.addresses), ['10.0.0.2/24', 'fd00::9/128'], 'not what was not leased');
  t.ok(lent.addresses.every((address) => address.link === index));
  const [route] = lent.routes.filter(({ prefix }) => prefix === '0.0.0.0/0');
  t.match(route, { next_hops: [{ oif: index, gateway: '10.0.0.1' }] });
  const [foreign] = lent.foreign_routes;
  t.ok(lent.others.has(foreign!.next_hops[0]!.oif!), 'the other link is known');
  t.equal(withLease(before, lent), lent, 'once');
  const [joined] = withLeases([before], [{ ...before, ...none, others: [] }]);
  t.same(prefixes(joined!.addresses), prefixes(lent.addresses));
});

t.test('a lease that may have run out is none', async (t) => {
  const { before } = start();
  const leased = (age_ms: number, valid_s = 60) =>
    prefixes(
      withoutOldLeases(
        {
          ...before,
          addresses: before.addresses.map((address) => (address.valid_s ? { ...address, valid_s } : address)),
        },
        age_ms,
      ).addresses,
    );
  t.ok(leased(29_000, 30).includes('10.0.0.2/24'));
  t.notOk(leased(30_000, 30).includes('10.0.0.2/24'));
  t.ok(leased(59_000, 86_400).includes('fd00::9/128'));
  t.notOk(leased(60_000, 86_400).includes('fd00::9/128'), 'nor one that nobody has asked for so long');
  t.ok(leased(Number.POSITIVE_INFINITY).includes('10.0.0.100/32'));
  t.notOk(leased(Number.POSITIVE_INFINITY).includes('10.0.0.2/24'), 'of which nobody knows how old it is');
});

t.test('what was put back is the client’s when it answers, and goes when it has another', async (t) => {
  const { before } = start();
  const lost = lostLeases(before, { addresses: [], routes: [] });
  const [there] = kept(before).filter(({ prefix }) => prefix === '10.0.0.2/24');
  const other: Address = { ...there!, prefix: '10.9.0.2/24', valid_s: 60 };
  const now = (addresses: readonly Address[], routes: readonly Route[] = []) =>
    replaced(before, lost, { addresses, routes });
  const by_new = byDefault({ next_hops: [{ oif: 1, gateway: '10.9.0.1' }] });
  t.strictSame(now([there!]), { stale: [], is_open: true });
  t.strictSame(now([{ ...there!, valid_s: 60 }]), { stale: [], is_open: false });
  t.strictSame(now([]), { stale: [], is_open: false });
  t.strictSame(now([there!, other], [by_new]), { stale: [there], is_open: false });
  const six: Address = { ...other, family: 6, prefix: 'fd09::2/128' };
  t.strictSame(now([there!, six], [by_new]), { stale: [], is_open: true }, 'of another family');
  const [lent6] = kept(before).filter(({ prefix }) => prefix === 'fd00::9/128');
  t.strictSame(now([lent6!, six]), { stale: [lent6], is_open: false });
  t.strictSame(now([lent6!, { ...six, preferred_s: 0 }]), { stale: [], is_open: true }, 'a virtual address');

  // Without it the host would have no way out.
  const open = { stale: [], is_open: true };
  t.strictSame(now([there!, other], [byDefault()]), open, 'the default route is not yet there');
  const near: Address = { ...other, prefix: '10.0.0.77/24' };
  t.strictSame(now([there!, near], [byDefault()]).stale, [there]);
  t.strictSame(now([there!, near], [byDefault({ prefsrc: '10.0.0.2' })]), open, 'with it goes its route');
  t.strictSame(now([there!, { ...near, preferred_s: 0 }], [byDefault()]), open);
  const vip: Address = { ...other, prefix: '10.0.0.250/32' };
  const on_link = byDefault({ next_hops: [{ oif: 1 }], metric: 7 });
  for (const route of [byDefault(), by_new, on_link]) t.strictSame(now([there!, vip], [route]), open);
  t.strictSame(now([there!, other], [on_link]).stale, [there]);
  const no_way = { ...before, routes: [] };
  t.same(
    replaced(no_way, lost, { addresses: [there!, other], routes: [] }).stale,
    [there],
    'it had none before',
  );

  const { routes } = before;
  const by_old = unreached(lost, { addresses: [other], routes });
  t.same(prefixes(by_old), ['0.0.0.0/0', '10.60.0.0/16'], 'not what needs no gateway');
  t.same(unreached(lost, { addresses: [there!], routes }), []);
});
