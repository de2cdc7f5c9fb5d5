import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import type { NetworkChange, NetworkNamespace } from '../../src/linux/network.js';
import { needs } from '../kit/needs.js';

/** What the fake host promises is held against the real kernel, change by change. */

const reason = canUseNetns();
const root = needs(reason);

t.test('the fake host answers as the kernel does', root(), async (t) => {
  const lab = new NetnsLab();
  t.teardown(() => lab.close());
  const fake = new FakeHostNetwork();
  const paths = [lab.namespace('a'), lab.namespace('b')] as const;
  for (const path of paths) {
    fake.addNamespace(path);
    fake.open(path).apply({ do: 'set_link', link: 1, up: true });
  }
  const real = lab.open('a');
  const real_b = lab.open('b');
  const model = fake.open(paths[0]);
  const model_b = fake.open(paths[1]);
  const peer = { name: 'p0', netns: paths[1], mac: '02:00:00:00:00:02' };
  const route = (prefix: string, gateway?: string, more: object = {}) => {
    const family = prefix.includes(':') ? (6 as const) : (4 as const);
    return { family, prefix, next_hops: [{ oif: 2, ...(gateway ? { gateway } : {}) }], ...more };
  };
  const address = (prefix: string, more: object = {}) => {
    const family = prefix.includes(':') ? (6 as const) : (4 as const);
    return { link: 2, family, prefix, ...(family === 6 ? { flags: 2 } : {}), ...more };
  };
  const script: [NetworkNamespace, NetworkNamespace, NetworkChange][] = (
    [
      { do: 'add_link', link: { kind: 'veth', name: 'v0', mac: '02:00:00:00:00:01', peer } },
      { do: 'add_link', link: { kind: 'bridge', name: 'v0' } },
      { do: 'add_address', address: address('10.0.0.1/24') },
      { do: 'add_route', route: route('10.5.0.0/16', '10.0.0.2') },
      { do: 'set_link', link: 2, up: true },
      ['b', { do: 'set_link', link: 2, up: true }],
      { do: 'add_address', address: address('10.0.0.1/24') },
      { do: 'add_address', address: address('10.0.0.5/24') },
      { do: 'add_address', address: address('10.7.0.1/32') },
      { do: 'add_address', address: address('fd00::1/64') },
      { do: 'add_address', address: address('fd00::1/64') },
      { do: 'add_address', address: address('10.8.0.1/24', { link: 99 }) },
      { do: 'add_route', route: route('10.5.0.0/16', '10.0.0.2') },
      { do: 'add_route', route: route('10.5.0.0/16', '10.0.0.3') },
      { do: 'add_route', route: route('10.5.0.0/16', '10.0.0.3', { metric: 7 }) },
      { do: 'append_route', route: route('10.5.0.0/16', '10.0.0.3') },
      { do: 'append_route', route: route('10.5.0.0/16', '10.0.0.3') },
      { do: 'replace_route', route: route('10.5.0.0/16', '10.0.0.4', { metric: 7 }) },
      { do: 'add_route', route: route('10.5.1.1/16', '10.0.0.3') },
      { do: 'add_route', route: route('10.6.0.0/16', '10.99.0.1') },
      { do: 'add_route', route: route('10.6.0.0/16', '10.0.0.2', { prefsrc: '1.2.3.4' }) },
      { do: 'add_route', route: route('10.6.0.0/16', '10.0.0.2', { prefsrc: '10.0.0.5' }) },
      { do: 'add_route', route: route('::/0', 'fd00::2') },
      { do: 'add_route', route: route('::/0', 'fd00::3') },
      { do: 'add_route', route: route('fd05::/48', 'fe80::9') },
      { do: 'add_route', route: route('fd06::/48', 'fd99::9') },
      { do: 'delete_route', route: route('10.250.0.0/16') },
      { do: 'delete_address', address: address('10.99.0.1/24') },
      { do: 'delete_address', address: address('10.7.0.1/32') },
      { do: 'delete_link', link: 99 },
      ['b', { do: 'add_link', link: { kind: 'bridge', name: 'v0' } }],
      { do: 'move_link', link: 2, netns: paths[1] },
      { do: 'set_link', link: 2, up: false },
      { do: 'set_link', link: 2, up: true },
      { do: 'move_link', link: 2, netns: paths[1], name: 'moved' },
      ['b', { do: 'move_link', link: 4, netns: paths[0], name: 'v0' }],
      { do: 'set_link', link: 2, up: true },
      ['b', { do: 'delete_link', link: 2 }],
    ] as (NetworkChange | ['b', NetworkChange])[]
  ).map((entry) => (Array.isArray(entry) ? [real_b, model_b, entry[1]] : [real, model, entry]));
  for (const [on_kernel, on_fake, change] of script) {
    const [kernel] = on_kernel.batch([change]);
    const [modelled] = on_fake.batch([change]);
    const label = JSON.stringify(change);
    t.equal(modelled?.code, kernel?.code, label);
    t.strictSame(outline(model), outline(real), `a after ${label}`);
    t.strictSame(outline(model_b), outline(real_b), `b after ${label}`);
  }
});

/**
 * What the fake promises to have as the kernel has it. The kernel adds link-local addresses when it has seen the carrier,
 * some milliseconds after a link was set up: not compared.
 */
function outline(namespace: NetworkNamespace): object {
  const names = new Map(namespace.links().map(({ index, name }) => [index, name]));
  return {
    links: namespace.links().map(({ index, name, kind, up, mtu }) => ({ index, name, kind, up, mtu })),
    addresses: namespace
      .addresses()
      .filter((a) => !a.prefix.startsWith('fe80:'))
      .map((a) => `${a.prefix} ${names.get(a.link)} ${a.scope} ${a.flags & 1}`)
      .sort(),
    routes: namespace
      .routes({ table: 254 })
      .filter((r) => r.prefix !== 'fe80::/64')
      .map(
        (r) =>
          `${r.prefix} ${r.metric} ${r.protocol} ${r.scope} ${r.prefsrc} ${r.next_hops.map((h) => `${h.gateway}@${names.get(h.oif!)}`).sort()}`,
      )
      .sort(),
  };
}
