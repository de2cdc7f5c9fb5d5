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
    t.equal(routers.nextChange_ms(0), 1800 * s);
    t.same(speaker(1800 * s), ['fe80::b', 3000]);
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
      { ...prefix, prefix: 'fd56::/64', valid_s: infinite_s, preferred_s: infinite_s, said: 1 },
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
