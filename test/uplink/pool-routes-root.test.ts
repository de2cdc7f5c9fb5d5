import t from 'tap';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import type { ClusterPrefixes } from '../../src/desired/host-tap.js';
import { odd_hosts } from '../host/odd-hosts/odd-hosts.js';
import { Stage } from '../host/odd-stage.js';
import { needs } from '../kit/needs.js';

const reason = canUseNetns();
const root = needs(reason);

t.test(
  'a real kernel takes the routes to pods, uses them, changes their MTU, and gives them up',
  root(),
  async (t) => {
    const lab = new NetnsLab();
    t.teardown(() => lab.close());
    const odd = {
      ...odd_hosts[0]!,
      setup: [
        'address add 10.0.0.2/24 dev eth0',
        '-6 address add fd00::2/64 dev eth0 nodad',
        'link set eth0 up',
        'route add default via 10.0.0.1',
        // Another way to a part of the pool's addresses, which is the host's.
        'route add 10.1.7.0/24 via 10.0.0.9',
        'route add 10.1.0.0/16 via 10.0.0.9',
      ],
      peer: ['address add 10.0.0.1/24 dev peer0', 'link set peer0 up'],
      uplinks: ['eth0'],
    };
    const stage = new Stage(lab, odd, '0');
    const captured = stage.capture();
    const uplinks = stage.uplinks(captured);
    const cluster = (pods?: ClusterPrefixes['pods'], services?: readonly string[]): ClusterPrefixes => ({
      prefixes: ['10.96.0.0/16'],
      tap_address: '169.254.0.1/32',
      ...(pods && { pods }),
      ...(services && { services }),
    });
    const texts = (refused: readonly { readonly error: Error }[]) =>
      refused.map(({ error }) => error.message);
    await stage.host.take(captured);
    stage.makeTaps(captured);
    stage.raiseTaps();
    t.strictSame(texts(stage.host.taps.dress(uplinks, captured, cluster())), []);
    stage.host.complete(captured);

    /** Next hop and MTU that the kernel uses for this address. */
    const way = (address: string): string => {
      const [found] = JSON.parse(lab.run(stage.node, 'ip', '-j', 'route', 'get', address)) as [
        { readonly gateway?: string; readonly metrics?: readonly { readonly mtu?: number }[] },
      ];
      return `${found.gateway} ${found.metrics?.[0]?.mtu}`;
    };
    const ours = (): string =>
      lab.run(stage.node, 'ip', 'route', 'show', 'proto', '77') +
      lab.run(stage.node, 'ip', '-6', 'route', 'show', 'proto', '77');
    t.equal(way('10.96.0.1'), '169.254.0.1 1440');
    const bare = ours();
    const redress = (pods?: ClusterPrefixes['pods'], services: readonly string[] | undefined = []) =>
      t.strictSame(texts(stage.host.taps.redress(uplinks, cluster(pods, services))), []);

    const prefixes = ['10.1.0.0/16', 'fd01::/48'];
    redress({ prefixes, encapsulated: false });
    t.equal(way('10.1.0.5'), '169.254.0.1 1500', 'before the route that the host has to the same prefix');
    t.equal(way('10.1.7.5'), '10.0.0.9 undefined', 'not before a longer one');
    t.equal(way('fd01::5'), 'fe80::ca:11ff:fec0:fd00 1500');
    redress({ prefixes, encapsulated: true });
    t.equal(way('10.1.0.5'), '169.254.0.1 1440');
    t.equal(way('fd01::5'), 'fe80::ca:11ff:fec0:fd00 1440');
    t.equal(
      ours()
        .split('\n')
        .filter((line) => line.startsWith('10.1.0.0/16')).length,
      1,
      'once',
    );
    redress();
    t.equal(way('10.1.0.5'), '169.254.0.1 1440', 'pools that are not known yet');
    redress({ prefixes: [], encapsulated: false });
    t.equal(way('10.1.0.5'), '10.0.0.9 undefined');
    t.equal(ours(), bare);
    // ServiceCIDRs come and go while the node runs.
    const no_pods = { prefixes: [], encapsulated: false };
    redress(no_pods, ['10.96.0.0/16', '10.112.0.0/16', 'fd12::/112']);
    t.equal(way('10.112.0.1'), '169.254.0.1 1440');
    t.equal(way('fd12::1'), 'fe80::ca:11ff:fec0:fd00 1440');
    redress(no_pods, ['10.112.0.0/16']);
    t.equal(
      way('10.96.0.1').includes('169.254.0.1'),
      false,
      'what the environment says counts where no object says it',
    );
    t.strictSame(texts(stage.host.taps.redress(uplinks, cluster(no_pods))), []);
    t.equal(way('10.112.0.1'), '169.254.0.1 1440', 'those that are not known yet');
    redress(no_pods, []);
    t.equal(ours(), bare);
    // The network of another card, which comes and goes, whatever the cluster says of it.
    lab.run(stage.node, 'ip', 'link', 'add', 'mgmt', 'type', 'veth', 'peer', 'name', 'mgmt-peer');
    for (const end of ['mgmt', 'mgmt-peer']) lab.run(stage.node, 'ip', 'link', 'set', end, 'up');
    const pool = { prefixes: ['10.1.8.0/25'], encapsulated: false };
    redress(pool, ['10.112.0.0/24']);
    t.equal(way('10.1.8.5'), '169.254.0.1 1500');
    lab.run(stage.node, 'ip', 'address', 'add', '10.1.8.9/24', 'dev', 'mgmt');
    lab.run(stage.node, 'ip', 'address', 'add', '10.112.0.9/24', 'dev', 'mgmt');
    redress(pool, ['10.112.0.0/24']);
    t.equal(way('10.1.8.5'), 'undefined undefined');
    t.equal(way('10.112.0.1'), 'undefined undefined', 'nor before an equal one');
    t.strictSame(stage.host.taps.withinOthers(uplinks, cluster(pool, ['10.112.0.0/24'])), [
      '10.112.0.0/24',
      '10.1.8.0/25',
    ]);
    lab.run(stage.node, 'ip', 'link', 'delete', 'mgmt');
    redress(pool, ['10.112.0.0/24']);
    t.equal(way('10.1.8.5'), '169.254.0.1 1500');
    stage.removeTaps();
  },
);
