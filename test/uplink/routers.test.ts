import t from 'tap';
import { infinite_s, type RouterAdvertisement } from '../../src/ip/advertisement.js';
import { Routers } from '../../src/uplink/routers.js';

const prefix = { prefix: 'fd55::/64', on_link: true, autonomous: true, valid_s: 100, preferred_s: 50 };
const from = (router: string, changes: Partial<RouterAdvertisement> = {}): RouterAdvertisement => ({
  router,
  lifetime_s: 1800,
  managed: false,
  other: false,
  prefixes: [prefix],
  ...changes,
});
const s = 1000;

t.test(
  'VPP speaks in the name of one router, and of another when that one is silent or leaves',
  async (t) => {
    const routers = new Routers();
    t.same(routers.repeated(0), new Map(), 'nothing is said of a link that nobody was heard on');
    t.equal(routers.nextChange_ms(0), undefined);
    routers.heard('eth0', from('fe80::a', { managed: true }), 0);
    routers.heard('eth0', from('fe80::b', { lifetime_s: 3000, other: true }), 0);
    const speaker = (now_ms: number) => {
      const { router, lifetime_s } = routers.repeated(now_ms).get('eth0')!;
      return [router, lifetime_s];
    };
    t.same(speaker(0), ['fe80::a', 1800]);
    t.match(routers.repeated(0).get('eth0'), { managed: true, other: true });
    t.equal(routers.nextChange_ms(700 * s), 1800 * s);
    t.same(speaker(1800 * s), ['fe80::b', 3000]);
    t.match(
      routers.repeated(1800 * s).get('eth0'),
      { managed: false, other: true },
      'flags of those that live',
    );
    t.equal(routers.nextChange_ms(1800 * s), 3000 * s);
    routers.heard('eth0', from('fe80::a'), 1900 * s);
    t.same(speaker(1900 * s), ['fe80::b', 3000], 'who speaks goes on');
    routers.heard('eth0', from('fe80::b', { lifetime_s: 0 }), 2000 * s);
    t.same(speaker(2000 * s), ['fe80::a', 1800]);
    t.same(speaker(9999 * s), ['fe80::a', 0], 'nobody is left: the last one is no default router any more');
    t.equal(routers.nextChange_ms(9999 * s), undefined);
  },
);

t.test(
  'prefixes are those of all routers, each counted, and those that contradict themselves are none',
  async (t) => {
    const routers = new Routers();
    routers.heard('eth0', from('fe80::a'), 0);
    routers.heard(
      'eth0',
      from('fe80::b', {
        prefixes: [
          { ...prefix, valid_s: 0, preferred_s: 0 },
          { ...prefix, prefix: 'fd56::/64', valid_s: infinite_s, preferred_s: infinite_s },
          { ...prefix, prefix: 'fd57::/64', valid_s: 1, preferred_s: 2 },
          { ...prefix, prefix: 'fe80::/64' },
          { ...prefix, prefix: 'ff02::/16' },
        ],
      }),
      0,
    );
    t.same(routers.repeated(0).get('eth0')?.prefixes, [
      { ...prefix, valid_s: 0, preferred_s: 0, said: 2 },
      { ...prefix, prefix: 'fd56::/64', valid_s: infinite_s - 1, preferred_s: infinite_s - 1, said: 1 },
    ]);
  },
);

t.test(
  'what anybody on the link makes up takes no more than its room, and what lives keeps its place',
  async (t) => {
    const routers = new Routers();
    routers.heard('eth0', from('fe80::a'), 0);
    for (let n = 1; n < 1000; n += 1) {
      const forged = { ...prefix, prefix: `fd00:${n.toString(16)}::/64`, valid_s: 1e6, preferred_s: 1 };
      routers.heard('eth0', from(`fe80::${n.toString(16)}:1`, { prefixes: [forged] }), 0);
    }
    const { router, prefixes } = routers.repeated(0).get('eth0')!;
    t.equal(router, 'fe80::a');
    t.ok(prefixes.length <= 16);
    t.equal(prefixes[0]?.prefix, 'fd55::/64');
    routers.heard('eth0', from('fe80::c', { prefixes: [{ ...prefix, prefix: 'fd99::/64' }] }), 2000 * s);
    t.ok(
      routers
        .repeated(2000 * s)
        .get('eth0')!
        .prefixes.some((each) => each.prefix === 'fd99::/64'),
      'what is over gives its place away',
    );
  },
);

t.test('what VPP says since an earlier life holds until a router is heard', async (t) => {
  const routers = new Routers();
  routers.resumed('eth0', from('fe80::a', { lifetime_s: 9 }), 0);
  routers.heard('eth0', from('fe80::a'), 1);
  routers.resumed('eth0', from('fe80::a', { lifetime_s: 9 }), 2);
  t.match(routers.repeated(3).get('eth0'), { router: 'fe80::a', lifetime_s: 1800 });
});

t.test('another VPP is told what is left of each lifetime, and nothing of what is over', async (t) => {
  const routers = new Routers();
  const [for_ever, short] = ['fd56::/64', 'fd57::/64'];
  routers.heard(
    'eth0',
    from('fe80::a', {
      prefixes: [
        prefix,
        { ...prefix, prefix: for_ever, valid_s: infinite_s, preferred_s: infinite_s },
        { ...prefix, prefix: short, valid_s: 30, preferred_s: 30 },
      ],
    }),
    0,
  );
  routers.anew(60 * s);
  t.match(routers.repeated(60 * s).get('eth0')?.prefixes, [
    { prefix: 'fd55::/64', valid_s: 40, preferred_s: 0 },
    { prefix: for_ever, valid_s: infinite_s - 1, preferred_s: infinite_s - 1 },
  ]);
  t.equal(routers.repeated(60 * s).get('eth0')?.prefixes.length, 2);
});

t.test('a prefix that has been over for long is no more', async (t) => {
  const routers = new Routers();
  routers.heard('eth0', from('fe80::a', { lifetime_s: 9000 }), 0);
  t.equal(routers.repeated(699 * s).get('eth0')?.prefixes.length, 1, 'told as over for a while');
  t.equal(routers.nextChange_ms(200 * s), 700 * s);
  t.equal(routers.repeated(700 * s).get('eth0')?.prefixes.length, 0);
});

t.test('an address has one prefix, as in VPP; the one that lives stays', async (t) => {
  const routers = new Routers();
  const of = (now_ms: number) =>
    routers
      .repeated(now_ms)
      .get('eth0')
      ?.prefixes.map((each) => each.prefix);
  routers.heard('eth0', from('fe80::a'), 0);
  routers.heard('eth0', from('fe80::b', { prefixes: [{ ...prefix, prefix: 'fd55::/48' }] }), 0);
  t.same(of(0), ['fd55::/64']);
  routers.heard('eth0', from('fe80::b', { prefixes: [{ ...prefix, prefix: 'fd55::/48' }] }), 101 * s);
  t.same(of(101 * s), ['fd55::/48']);
});

t.test('what an earlier life has left in VPP makes room for what is said', async (t) => {
  const routers = new Routers();
  const many = Array.from({ length: 16 }, (_, n) => ({ ...prefix, prefix: `fd00:${n}::/64` }));
  routers.resumed('eth0', from('fe80::a', { prefixes: many }), 0);
  routers.heard('eth0', from('fe80::a'), 1);
  const prefixes = routers
    .repeated(2)
    .get('eth0')!
    .prefixes.map((each) => each.prefix);
  t.equal(prefixes.length, 16);
  t.ok(prefixes.includes('fd55::/64'));
});
