import t from 'tap';
import { Secret } from '../../src/config/secret.js';
import { IkeTunnels } from '../../src/routes/ike-tunnels.js';
import type { IkeTunnelState } from '../../src/vpp-conn/observe/ipsec.js';

const two = { tag: 'ipip-10.0.0.2', src: '10.0.0.5', dst: '10.0.0.2' };
const nine = { tag: 'ipip-10.0.0.9', src: '10.0.0.5', dst: '10.0.0.9' };
const wanted = [two, nine];

class Lab {
  readonly ike = new IkeTunnels({ key: () => new Secret('a key') });
  now_ms = 0;
  /** In VPP, as far as is known. */
  made: readonly string[] = wanted.map(({ tag }) => tag);

  see(state: IkeTunnelState['state'], changes: Partial<IkeTunnelState> = {}) {
    const states = wanted.map(({ tag }) => ({ tag, state, has_sa: false, ...changes }));
    return this.ike.see(wanted, states, this.now_ms, (tag) => this.made.includes(tag));
  }

  /** Those of which VPP is asked for their keys. */
  asked(): readonly string[] {
    return [...this.ike.asks(wanted, this.now_ms)].flatMap(({ dst, needs_spi }) => (needs_spi ? dst : []));
  }

  status(): Readonly<Record<string, string>> {
    return this.ike.status(wanted, this.now_ms);
  }
}

t.test('a tunnel that stays down is begun with anew, later each time, by the end that begins', async (t) => {
  const lab = new Lab();
  t.ok(Object.values(lab.status()).every((text) => text.startsWith('not in VPP yet')));
  const renewed: number[] = [];
  for (lab.now_ms = 0; lab.now_ms <= 200_000; lab.now_ms += 1000) {
    const { renew, up } = lab.see('down');
    t.strictSame(up, []);
    if (renew.length === 0) continue;
    t.strictSame(renew, ['10.0.0.2'], 'the other end waits');
    renewed.push(lab.now_ms);
  }
  t.strictSame(renewed, [10_000, 30_000, 70_000, 130_000, 190_000]);
  t.notOk(lab.ike.waits(lab.now_ms), 'for minutes already');
  t.match(lab.status(), {
    '10.0.0.2': /does not answer: .*UDP ports 500/,
    '10.0.0.9': /the other node.*begins/,
  });
  lab.see('down', { has_sa: true });
  t.match(lab.status(), { '10.0.0.2': /answered.*same key/ });
  t.strictSame(
    lab.see('up').up,
    wanted.map(({ tag }) => tag),
  );
  t.notOk(lab.ike.waits(lab.now_ms));
  lab.now_ms += 3000;
  t.match(lab.status(), { '10.0.0.2': 'up for 3 s' });
  lab.see('down');
  lab.now_ms += 10_000;
  t.strictSame(lab.see('down').renew, ['10.0.0.2'], 'soon again');
  t.ok(lab.ike.waits(lab.now_ms));
});

t.test('what VPP has taken away, or left without keys, is told at once', async (t) => {
  const lab = new Lab();
  lab.see('up');
  t.strictSame(
    lab.see('gone').gone,
    wanted.map(({ tag }) => tag),
  );
  t.match(lab.status(), { '10.0.0.9': /taken the tunnel away.*same key/ });
  lab.made = [two.tag];
  t.strictSame(lab.see('gone').gone, [two.tag]);
  t.match(lab.status(), {
    '10.0.0.2': /taken the tunnel away/,
    '10.0.0.9': /not in VPP yet: see what is refused/,
  });
  t.strictSame(lab.see('up').up.length, 2);
  const { take_down, renew } = lab.see('clear');
  t.strictSame(
    take_down,
    wanted.map(({ tag }) => tag),
  );
  t.strictSame(renew, ['10.0.0.2', '10.0.0.9'], 'by either end: the other one believes that all is well');
  t.match(
    lab.ike.see([two], [], lab.now_ms, () => true),
    { up: [], gone: [] },
  );
  t.match(
    lab.ike.status([two, nine], 0),
    { '10.0.0.9': /not in VPP/ },
    'what is wanted no more is forgotten',
  );
});

t.test('keys are replaced every hour; where that does not come about IKE begins anew', async (t) => {
  const lab = new Lab();
  lab.see('up', { has_sa: true, spi: 1 });
  lab.now_ms += 3_599_000;
  t.strictSame(lab.see('up', { spi: 1 }).rekey, []);
  t.strictSame(lab.asked(), []);
  lab.now_ms += 1000;
  t.strictSame(lab.asked(), ['10.0.0.2'], 'VPP is asked for what it has when it is time, by one end alone');
  t.strictSame(lab.see('up').rekey, []);
  lab.now_ms += 5000;
  t.strictSame(lab.asked(), ['10.0.0.2'], 'where it did not say it is asked again');
  t.strictSame(lab.see('up', { spi: 1 }).rekey, [1]);
  lab.now_ms += 5000;
  t.match(lab.see('up', { spi: 2 }), { rekey: [], renew: [] });
  lab.now_ms += 3_600_000;
  t.strictSame(lab.see('up', { spi: 2 }).rekey, [2]);
  lab.now_ms += 4000;
  t.strictSame(lab.see('up', { spi: 2 }).renew, [], 'it may be on its way');
  lab.now_ms += 1000;
  t.strictSame(lab.see('up', { spi: 2 }).renew, ['10.0.0.2']);
});

t.test('a key that cannot be read is a fault, and the one of before holds', async (t) => {
  let key = (): Secret => new Secret('one');
  const ike = new IkeTunnels({ key: () => key() });
  const { psk_version } = ike.settings!;
  t.notOk(ike.readKey(), 'it is the same');
  key = () => {
    throw new Error('the key cannot be read from /a/file (ENOENT)');
  };
  t.notOk(ike.readKey());
  t.match([...ike.faults()], [['IPsec', /ENOENT.*that of before/]]);
  t.equal(ike.settings?.psk?.reveal(), 'one');
  key = () => new Secret('two');
  t.ok(ike.readKey());
  t.equal(ike.settings?.psk?.reveal(), 'two');
  t.not(ike.settings?.psk_version, psk_version);
  t.equal(ike.fault_count, 0);
  const without = new IkeTunnels({
    key: () => {
      throw new Error('there is no key');
    },
  });
  t.match([...without.faults()], [['IPsec', /the key that it has, and no other tunnel.*comes up/]]);
  t.strictSame(without.settings, { psk_version: 0 });
  t.equal(new IkeTunnels(undefined).settings, undefined, 'IPsec is off');
});

t.test('what is asked for and not done is a fault for as long as it is asked for', async (t) => {
  const ike = new IkeTunnels({ key: () => new Secret('a key'), not_done: 'it is refused: take it out' });
  t.strictSame([...ike.faults()], [['CALICOVPP_IPSEC', 'it is refused: take it out']]);
  t.equal(ike.fault_count, 1);
});
