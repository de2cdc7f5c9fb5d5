import { type BriefPath, families, type Path, type PathInput } from 'gobgp-grpc-stubs';
import t from 'tap';
import { isPrefix, localPathOf, pathMessage, samePath } from '../../src/bgp/local-paths.js';
import { networkKeyOf, networkPath } from '../../src/bgp/network-paths.js';
import { peerMessage } from '../../src/bgp/peer-state.js';
import { RemoteTable } from '../../src/bgp/remote-table.js';
import { NetworkRoutes, networkRouteKey } from '../../src/desired/network-routes.js';
import { at, planOf } from './cluster.js';

const asTold = (path: PathInput, more: object = {}): Path =>
  ({ neighbor_ip: '', identifier: 0, is_withdraw: false, ...path, ...more }) as unknown as Path;
const of4 = { vni: 70_000, prefix: '10.77.0.5/32', next_hop: '10.0.0.1' };
const of6 = { vni: 7, prefix: 'fd77::5/128', next_hop: 'fd00::1' };

t.test('an own path is as the Go implementation announces it, and is read back', async (t) => {
  for (const [address, family] of [
    [of4, families.ipv4_vpn],
    [of6, families.ipv6_vpn],
  ] as const) {
    const path = networkPath(address, 64_512);
    t.equal(path.prefix, networkRouteKey(address.vni, address.prefix));
    t.notOk(isPrefix(path.prefix));
    const message = asTold(pathMessage(path));
    t.match(message, {
      family,
      nlri: {
        type: 'labeled_vpn_ip_prefix',
        labels: [],
        rd: { type: 'two_octet_asn', admin: 64_512, assigned: address.vni },
      },
    });
    const back = localPathOf(message)!;
    t.ok(samePath(back, path) && back.prefix === path.prefix);
    t.notOk(samePath(path, networkPath(address, 64_513)), 'another AS');
  }
  t.match(pathMessage(networkPath(of4, 4_200_000_000)), {
    nlri: { rd: { admin: 23_456, assigned: 70_000 } },
  });
});

t.test('what others tell', async (t) => {
  const table = new RemoteTable();
  const whole = asTold(pathMessage(networkPath(of4, 64_512)), { neighbor_ip: '10.0.0.2' });
  const brief = (changes: object = {}): BriefPath => ({
    prefix: undefined,
    next_hop: '',
    neighbor_ip: '10.0.0.2',
    identifier: 0,
    is_withdraw: false,
    whole,
    ...changes,
  });
  table.begin();
  table.take({ paths: [brief()], initial: true, whole: false });
  const key = networkRouteKey(70_000, '10.77.0.5/32', 'two_octet_asn:64512');
  t.strictSame([...table.changes(10)], [[key, { prefix: key, next_hops: ['10.0.0.1'] }]]);
  t.strictSame([...table.prefixes()], [], 'no rule of prefixes is for it');
  table.take({ paths: [brief({ is_withdraw: true })], initial: false, whole: false });
  t.strictSame([...table.changes(10)], [[key, undefined]]);
  for (const rd of [
    { type: 'ip_address', admin: '10.0.0.2', assigned: 7 },
    { type: 'four_octet_asn', admin: 4_200_000_000, assigned: 7 },
  ]) {
    const nlri = { ...(whole.nlri as object), rd } as Path['nlri'];
    t.equal(networkKeyOf({ nlri }), networkRouteKey(7, '10.77.0.5/32', `${rd.type}:${rd.admin}`));
  }
  t.equal(
    networkKeyOf({ nlri: { ...(whole.nlri as object), rd: { type: 'unknown' } } as unknown as Path['nlri'] }),
    undefined,
  );
});

t.test('nodes of two AS tell one address, and the one that had it takes it back', async (t) => {
  const table = new RemoteTable();
  const routes = new NetworkRoutes();
  table.begin();
  table.complete();
  const tells = (as_number: number, next_hop: string, is_withdraw = false): readonly string[] => {
    const whole = asTold(pathMessage(networkPath({ ...of4, next_hop }, as_number)), {
      neighbor_ip: '10.0.0.2',
      is_withdraw,
    });
    const path = {
      prefix: undefined,
      next_hop: '',
      neighbor_ip: '10.0.0.2',
      identifier: 0,
      is_withdraw,
      whole,
    };
    table.take({ paths: [path], initial: false, whole: true });
    for (const [key, route] of table.changes(10)) routes.setRoute(key, route?.next_hops ?? []);
    return [...routes.keys()].flatMap((key) => routes.nextHops(key));
  };
  t.strictSame(tells(64_512, '10.0.0.1'), ['10.0.0.1']);
  t.strictSame(tells(64_513, '10.0.0.3'), ['10.0.0.1', '10.0.0.3']);
  t.strictSame(tells(64_512, '10.0.0.1', true), ['10.0.0.3'], 'it is where it has moved to');
  t.strictSame(tells(64_513, '10.0.0.3', true), []);
});

t.test('peers, policies and paths', async (t) => {
  const networks = { addresses: [of4, of6], is_complete: true, paths: new Map() };
  const plan = planOf({ nodes: { n: at(1), m: at(2) }, more: { networks } });
  const keys = [of4, of6].map(({ vni, prefix }) => networkRouteKey(vni, prefix));
  t.ok(keys.every((key) => plan.paths.has(key)));
  t.match(JSON.stringify(plan.policies.policies), /mpls_vpn/);
  for (const peer of plan.peers.values())
    t.match(JSON.stringify(peerMessage(peer, { deferral_s: 1, restarting: false } as never)), /mpls_vpn/);
  const without = planOf({});
  t.notMatch(JSON.stringify([without.policies.policies, [...without.peers.values()]]), /mpls_vpn|networks/);
  const before = new Map(plan.paths);
  const begun = planOf({ more: { networks: { addresses: [], is_complete: false, paths: before } } });
  t.ok(
    keys.every((key) => begun.paths.has(key)),
    'what an earlier life has told stays until all pods have said theirs',
  );
  t.notOk(
    keys.some((key) =>
      planOf({ more: { networks: { addresses: [], is_complete: true, paths: before } } }).paths.has(key),
    ),
  );
});
