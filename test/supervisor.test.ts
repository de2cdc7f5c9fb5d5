import t from 'tap';
import { TurnedClock } from '../lab/turned-clock.js';
import { type ChildSpec, createActorSystem } from '../src/actor-system.js';
import { type Actors, root_supervision, startTree } from '../src/supervisor.js';
import { KeptLog, settle, type Teardown } from './kit/actor-kit.js';

/** The tree with actors that do nothing but note their starts (`+`) and stops (`-`). */
class Node {
  readonly seen: string[] = [];
  /** The actor with this name does not start. */
  broken: string | undefined;
  gave_up: Error | undefined;
  readonly clock = new TurnedClock();
  readonly system = createActorSystem({
    name: 'root',
    clock: this.clock,
    log: new KeptLog(),
    random: () => 0,
    supervision: root_supervision,
    escalated: (reason) => {
      this.gave_up = reason;
      this.seen.push('gave up');
    },
  });

  constructor(t: Teardown) {
    this.clock.settle = () => settle(this.system);
    t.teardown(async () => {
      const stopped = this.system.stop();
      await this.clock.advance(60_000);
      await stopped;
    });
  }

  spec<M>(name: string, needs: readonly { readonly path: string }[] = []): ChildSpec<M> {
    return {
      name,
      restart: 'permanent',
      shutdown_ms: 1000,
      mailbox_max: 8,
      handler_ms_max: 1000,
      start: async () => {
        // The first one is slow: who does not wait for it is ahead of it.
        if (name === 'vpp-process') await new Promise((resolve) => setImmediate(resolve));
        if (this.broken === name) throw new Error(`${name} is broken`);
        const short = needs.map(({ path }) => path.split('/').at(-1));
        this.seen.push(`+${name}${short.length > 0 ? ` (${short.join(' ')})` : ''}`);
        return { receive: () => undefined, stop: () => void this.seen.push(`-${name}`) };
      },
    };
  }

  start() {
    const actors: Actors = {
      vppProcess: this.spec('vpp-process'),
      vppConnection: (process) => this.spec('vpp-connection', [process]),
      uplink: (process, vpp) => this.spec('uplink', [process, vpp]),
      cluster: (uplink) => this.spec('cluster', [uplink]),
      connectivity: (vpp, uplink, cluster) => this.spec('connectivity', [vpp, uplink, cluster]),
      services: (vpp, uplink, cluster) => this.spec('services', [vpp, uplink, cluster]),
      felix: this.spec('felix'),
      bgp: {
        process: this.spec('bgp-process'),
        session: (process, uplink, cluster, connectivity) =>
          this.spec('bgp-session', [process, uplink, cluster, connectivity]),
      },
      policies: (vpp, uplink, felix) => this.spec('policies', [vpp, uplink, felix]),
      cni: (vpp, uplink) => this.spec('cni', [vpp, uplink]),
    };
    return startTree(this.system, actors);
  }

  take(): string[] {
    return this.seen.splice(0);
  }

  /** Crashes an actor, and lets its supervisor start again what it takes along. */
  async crash(path: string): Promise<string[]> {
    t.ok(this.system.crash(`root/${path}`, new Error('defect')), `${path} runs`);
    await settle(this.system);
    await this.clock.advance(5000);
    return this.take();
  }
}

const all = [
  '+vpp-process',
  '+vpp-connection (vpp-process)',
  '+uplink (vpp-process vpp-connection)',
  '+cluster (uplink)',
  '+connectivity (vpp-connection uplink cluster)',
  '+services (vpp-connection uplink cluster)',
  '+bgp-process',
  '+bgp-session (bgp-process uplink cluster connectivity)',
  '+felix',
  '+policies (vpp-connection uplink felix)',
  '+cni (vpp-connection uplink)',
];

t.test('actors start after those that they talk to, and stop before them', async (t) => {
  const node = new Node(t);
  const tree = await node.start();
  t.same(node.take(), all);
  t.same(
    [tree.process, tree.vpp, tree.uplink, tree.cluster, tree.connectivity, tree.cni].map(({ path }) => path),
    [
      'root/vpp/vpp-process',
      'root/vpp/vpp-connection',
      'root/uplink',
      'root/cluster',
      'root/connectivity',
      'root/cni',
    ],
  );
  await node.system.stop();
  t.same(node.take(), [
    ...['-cni', '-policies', '-felix', '-bgp-session', '-bgp-process', '-services', '-connectivity'],
    ...['-cluster', '-uplink', '-vpp-connection', '-vpp-process'],
  ]);
  t.equal(node.gave_up, undefined);
});

t.test('a crash takes along what was started after it; one in the vpp group everything', async (t) => {
  const bgp = ['-bgp-process', '-bgp-session'];
  const later = ['-services', ...bgp, '-felix', '-policies', '-cni'];
  const stops = ['-vpp-process', '-vpp-connection', '-uplink', '-cluster', '-connectivity', ...later];
  const cases: [string, string[]][] = [
    ['cni', ['-cni', all[10]!]],
    ['policies', ['-policies', '-cni', ...all.slice(9)]],
    ['felix', ['-felix', '-policies', '-cni', ...all.slice(8)]],
    ['bgp/bgp-session', ['-bgp-session', all[7]!]],
    ['bgp/bgp-process', [...bgp, ...all.slice(6, 8)]],
    ['services', [...later, ...all.slice(5)]],
    ['connectivity', ['-connectivity', ...later, ...all.slice(4)]],
    ['cluster', ['-cluster', '-connectivity', ...later, ...all.slice(3)]],
    ['uplink', ['-uplink', '-cluster', '-connectivity', ...later, ...all.slice(2)]],
    ['vpp/vpp-connection', [...stops, ...all]],
    ['vpp/vpp-process', [...stops, ...all]],
  ];
  for (const [path, expected] of cases) {
    const node = new Node(t);
    await node.start();
    node.take();
    const seen = await node.crash(path);
    t.same(seen.slice().sort(), expected.sort(), path);
    const starts = seen.filter((text) => text.startsWith('+'));
    t.same(
      starts,
      [...starts].sort((a, b) => all.indexOf(a) - all.indexOf(b)),
      'in order',
    );
    t.equal(node.gave_up, undefined);
  }
});

t.test('when crashes are too many the node gives up, with all actors stopped', async (t) => {
  const node = new Node(t);
  await node.start();
  node.take();
  const crashes: string[][] = [];
  while (node.gave_up === undefined && crashes.length < 100)
    crashes.push(await node.crash('vpp/vpp-process'));
  t.equal(crashes.length, root_supervision.intensity.restarts_max + 1);
  const last = crashes.at(-1)!;
  t.equal(last.at(-1), 'gave up');
  t.notOk(last.some((text) => text.startsWith('+')));
  t.same(
    last.filter((text) => text === '-uplink' || text === '-cni'),
    ['-cni', '-uplink'],
  );
});

t.test('crashes that are rare enough are mended for ever', async (t) => {
  const node = new Node(t);
  await node.start();
  for (let i = 0; i < 20; i++) {
    await node.crash('uplink');
    await node.clock.advance(root_supervision.intensity.window_ms / 3);
  }
  t.equal(node.gave_up, undefined);
});

t.test(
  'an actor that cannot be started is the error of the start; those before it are left to the caller',
  async (t) => {
    const node = new Node(t);
    node.broken = 'uplink';
    await t.rejects(node.start(), { message: /uplink is broken/ });
    t.same(node.take(), all.slice(0, 2));
    await node.system.stop();
    t.same(node.take(), ['-vpp-connection', '-vpp-process']);
  },
);
