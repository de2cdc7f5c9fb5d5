/** `restore` as an operator calls it, after a node and its VPP are gone, in what state ever the rest is. */
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { canUseNetns } from '../lab/netns.js';
import { type RunningNode, startNode } from '../lab/running-node.js';
import { Topology } from '../lab/topology.js';

const reason = canUseNetns();
const root = reason === undefined ? { timeout: 120_000 } : { skip: reason };
const program = fileURLToPath(new URL('../src/main.js', import.meta.url));

/** The host as `ip` tells it. */
function told({ lab }: Topology): object {
  const ip = (...argv: string[]): object[] => JSON.parse(lab.run('node', 'ip', '-d', '-j', ...argv));
  const routes = ['-4', '-6'].flatMap((family) => ip(family, 'route', 'show', 'table', 'all'));
  const links = ip('addr').map((link) => ({ ...link, ifindex: 0, link_index: 0, link_netnsid: 0 }));
  return { links, routes: routes.map((route) => JSON.stringify(route)).sort() };
}

/** A node that was taken away from its host together with its VPP, and the host before. */
async function abandoned(t: Test) {
  const topology = new Topology({ pods: 0 });
  t.teardown(() => topology.close());
  const before = told(topology);
  const node = await startNode(topology, { vpp: { stand_in: { real_devices: true } } });
  t.teardown(() => node.close());
  const abandon = async (): Promise<void> => {
    const vpp = node.vppPid()!;
    await node.kill('SIGKILL');
    process.kill(vpp, 'SIGKILL');
    t.notSame(told(topology), before, 'the host has lost its uplink');
  };
  await abandon();
  return { topology, node, before, abandon };
}

interface Restore {
  readonly environment?: Readonly<Record<string, string>>;
  readonly stdio?: 'full' | 'closed';
}

/** Answers the exit code. */
function restore(
  topology: Topology,
  node: RunningNode,
  { environment, stdio }: Restore = {},
): Promise<number | null> {
  const full = stdio === 'full' ? openSync('/dev/full', 'w') : 'pipe';
  const child = topology.spawn('node', [process.execPath, program, 'restore'], {
    env: { ...node.environment, ...environment },
    stdio: ['ignore', full, full],
  });
  if (typeof full === 'number') closeSync(full);
  if (stdio === 'closed') for (const stream of [child.stdout, child.stderr]) stream?.destroy();
  else for (const stream of [child.stdout, child.stderr]) stream?.resume();
  return new Promise((resolve) => child.once('exit', resolve));
}

t.test('a log that cannot be written keeps nobody from the network', root, async (t) => {
  const { topology, node, before } = await abandoned(t);
  t.equal(await restore(topology, node, { stdio: 'full' }), 0);
  t.strictSame(told(topology), before, 'a full disk');

  await node.restart();
  // VPP lives, and its end is waited for.
  await node.kill('SIGKILL');
  // As Node itself does when it warns, in the midst of it.
  const words = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const { readFileSync } = fs;
    fs.readFileSync = (path, ...more) => {
      if (String(path).endsWith('undo.journal')) for (const out of [process.stdout, process.stderr]) out.write('x');
      return readFileSync(path, ...more);
    };
    syncBuiltinESMExports();`;
  const NODE_OPTIONS = `--import data:text/javascript,${encodeURIComponent(words)}`;
  t.equal(await restore(topology, node, { stdio: 'closed', environment: { NODE_OPTIONS } }), 0);
  t.strictSame(told(topology), before, 'a reader that has gone');
  t.equal(node.vppPid(), undefined);
});

t.test('nothing but the paths is needed', root, async (t) => {
  const { topology, node, before } = await abandoned(t);
  const environment = {
    NODENAME: '',
    CALICOVPP_INTERFACES: '{',
    CALICOVPP_LOG_LEVEL: 'loud',
    CALICOVPP_MAX_PODS: 'many',
  };
  const wrong = { ...environment, CALICOVPP_STATE_DIR: 'here' };
  t.equal(await restore(topology, node, { environment: wrong }), 1, 'a path that is none is refused');
  t.notSame(told(topology), before);
  t.equal(await restore(topology, node, { environment }), 0);
  t.strictSame(told(topology), before);
});

t.test('a lost journal, and a damaged one, cost nothing that the captured uplinks tell', root, async (t) => {
  const { topology, node, before, abandon } = await abandoned(t);
  const journal = join(node.config.paths.state_dir, 'undo.journal');
  rmSync(journal);
  t.equal(await restore(topology, node), 0);
  t.strictSame(told(topology), before, 'lost');

  const damaged = async (what: string, change: (text: string) => string) => {
    await node.restart();
    await abandon();
    writeFileSync(journal, change(readFileSync(journal, 'utf8')));
    t.equal(await restore(topology, node), 0);
    t.strictSame(told(topology), before, what);
  };
  await damaged('a byte of the header', (text) => text.replace('undo', 'Undo'));
  await damaged('a byte of a record', (text) => text.replace('link_to_netns', 'link_to_netnz'));
  t.equal(await restore(topology, node), 0, 'and there is nothing left to do');
});

t.test('an uplink of which nothing is known any more comes back, and that is no success', root, async (t) => {
  const { topology, node, before } = await abandoned(t);
  const { state_dir } = node.config.paths;
  for (const name of ['undo.journal', 'uplinks.json']) rmSync(join(state_dir, name));
  t.equal(await restore(topology, node), 1);
  t.notSame(told(topology), before);
  t.match(
    topology.within('node', (host) => host.link('eth0')),
    { kind: 'veth', up: true },
  );
});
