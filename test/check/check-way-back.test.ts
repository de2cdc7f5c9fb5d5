/** `check --back`: what would disturb the Go implementation is named, each with its step, and nothing is changed. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import { checkExitCode } from '../../src/check/check.js';
import { gatherWayBack, type WayBackTools, wayBackFindings } from '../../src/check/check-way-back.js';
import { loadRestoreConfig } from '../../src/config.js';
import { HOST_ROOTS } from '../../src/host/devices/sysfs.js';
import { LinuxHost } from '../../src/host/netlink/linux-host.js';
import { openJournal } from '../../src/host/undo/undo-journal.js';
import type { UndoStep } from '../../src/host/undo/undo-step.js';

const boot_id = 'this-boot';
const step: UndoStep = {
  kind: 'run_command',
  argv: ['udevadm', 'trigger'],
  timeout_ms: 1000,
  after_boot: false,
};
const none = { code: 1, stdout: '', stderr: '' };

const told = (found: ReturnType<typeof wayBackFindings>): string[] =>
  found.map(({ severity, subject, what }) => `${severity} ${subject}: ${what}`);

/** All that is below a directory. */
const contents = (directory: string): readonly string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .map((each) => [join(each.parentPath, each.name), each] as const)
    .map(([path, each]) => (each.isFile() ? `${path}: ${readFileSync(path)}` : path))
    .sort();

function tools(directory: string, more: Partial<WayBackTools> = {}): WayBackTools {
  return {
    run: async () => none as never,
    host_root: undefined,
    host: new LinuxHost(join(directory, 'netns')),
    boot_id,
    wall_ms: 0,
    runs: false,
    status_directory: join(directory, 'endpoint-status'),
    ...more,
  };
}

t.test('a node that ended well is free', async (t) => {
  const directory = t.testdir({ run: {}, state: {}, proc: { net: { unix: '' } } });
  const config = loadRestoreConfig({
    CALICOVPP_RUN_DIR: join(directory, 'run'),
    CALICOVPP_STATE_DIR: join(directory, 'state'),
    CALICOVPP_NETNS_DIR: join(directory, 'netns'),
  });
  const found = wayBackFindings(await gatherWayBack(config, tools(directory)));
  t.strictSame(told(found), ['ok this node: has nothing that would disturb the Go implementation']);
  const runs = wayBackFindings(await gatherWayBack(config, tools(directory, { runs: true })));
  t.strictSame(told(runs), ['error calico-vpp-node: runs on this node']);
  t.equal(checkExitCode(runs), 1);
});

t.test('what a node that was killed has left is named, and stays as it is', async (t) => {
  const start_time = '4711';
  const stat = `77 (vpp_main) S ${Array.from({ length: 18 }, () => '0').join(' ')} ${start_time} 0`;
  const directory = t.testdir({
    run: {
      'vpp-run.json': JSON.stringify({
        version: 1,
        pid: 77,
        start_time,
        boot_id,
        api_socket: '/a',
        config_hash: 'h',
      }),
      'calicovpp_state.v11.json': '{}',
      pods: { a: '{}', b: '{}' },
    },
    state: {},
    'endpoint-status': { 'k8s default%2fa eth0': '{}', strange: '' },
    proc: {
      77: { stat },
      net: { unix: 'Num\n' },
    },
  });
  const config = loadRestoreConfig({
    CALICOVPP_RUN_DIR: join(directory, 'run'),
    CALICOVPP_STATE_DIR: join(directory, 'state'),
    CALICOVPP_NETNS_DIR: join(directory, 'netns'),
  });
  const { gobgpd_socket } = config.paths;
  const roots = { ...HOST_ROOTS, proc: join(directory, 'proc') };
  writeFileSync(
    join(directory, 'proc/net/unix'),
    `Num RefCount\n0000: 00000002 00000000 00010000 0001 01 1 ${gobgpd_socket}\n`,
  );
  openJournal(join(directory, 'state/undo.journal'), boot_id, 0).journal.record([step]);
  writeFileSync(join(directory, 'state/core-pattern.journal'), 'no journal\n');
  const before = contents(directory);
  const run: WayBackTools['run'] = async (argv) =>
    (argv.includes('--version') || argv.includes('calico_vpp_services')
      ? { ...none, code: 0 }
      : none) as never;
  const facts = await gatherWayBack(config, tools(directory, { run }), roots);
  t.strictSame(contents(directory), before, 'nothing is changed');
  const found = wayBackFindings(facts);
  t.match(told(found), [
    'error VPP: of a node that was killed runs (process 77)',
    'error gobgpd: of a node that was killed answers',
    /^error undo journal: .*\/state\/core-pattern.journal: it is not an undo journal/,
    /^error undo journal: has 1 step\(s\): run_command/,
    'error nftables inet calico_vpp_services: is there',
    /^warning .*\/calicovpp_state.v11.json: is from before/,
    /^warning .*\/pods: has records of 2 pod interface/,
    /^warning .*\/endpoint-status: has files of 1 endpoint/,
  ]);
  t.equal(checkExitCode(found), 1);
  for (const { why, step: to_take } of found) t.ok(why && to_take);
  const earlier = await gatherWayBack(config, tools(directory, { boot_id: 'another' }), roots);
  t.equal(earlier.vpp, undefined, 'a process of before the machine was restarted is another one');
  t.strictSame(earlier.pending, [], 'and so is its network');
});

const reason = canUseNetns();

t.test('an uplink in VPP’s namespace', reason === undefined ? {} : { skip: reason }, async (t) => {
  const lab = new NetnsLab();
  t.teardown(() => lab.close());
  lab.veth({ namespace: 'calico-vpp-ns', name: 'eth0' }, { namespace: 'far', name: 'far0' });
  const directory = t.testdir({ run: {}, state: {} });
  const config = loadRestoreConfig({
    CALICOVPP_RUN_DIR: join(directory, 'run'),
    CALICOVPP_STATE_DIR: join(directory, 'state'),
    CALICOVPP_NETNS_DIR: lab.directory,
  });
  const found = wayBackFindings(await gatherWayBack(config, tools(directory, { host: lab.host })));
  t.strictSame(told(found), [`error ${join(lab.directory, 'calico-vpp-ns')}: has eth0`]);
});

t.test('the command needs no more than paths', async (t) => {
  const directory = t.testdir({ run: {}, state: {} });
  const main = fileURLToPath(new URL('../../src/main.js', import.meta.url));
  const said = execFileSync(process.execPath, [main, 'check', '--back'], {
    encoding: 'utf8',
    env: {
      PATH: '',
      CALICOVPP_RUN_DIR: join(directory, 'run'),
      CALICOVPP_STATE_DIR: join(directory, 'state'),
      CALICOVPP_NETNS_DIR: join(directory, 'netns'),
      CALICOVPP_ENDPOINT_STATUS_DIR: join(directory, 'status'),
    },
  });
  t.match(said, /has nothing that would disturb the Go implementation[\s\S]*Nothing was changed/);
});
