/**
 * `check --back`: what this product has left on a node that is to be the Go implementation's again, and would disturb it. The same as what
 * `restore` looks at, and nothing of it is changed.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { goStateFiles } from '../cni/go-state.js';
import type { RestoreConfig } from '../config.js';
import { isStatusFileName } from '../felix/status-file.js';
import type { RunCommand } from '../host/command.js';
import { HOST_ROOTS, type HostRoots, listensAt, processStartTime } from '../host/devices/sysfs.js';
import { readIfExists } from '../host/files.js';
import { type JournalFiles, openJournal } from '../host/undo/undo-journal.js';
import { describeStep } from '../host/undo/undo-step.js';
import type { HostNetwork } from '../linux/network.js';
import { within } from '../linux/within.js';
import { hostTables } from '../services/host-services.js';
import { CapturedStore } from '../uplink/captured.js';
import { readRunRecord } from '../vpp-conn/run-record.js';
import { error, type Finding, ok, warning } from './finding.js';

export interface WayBackFacts {
  /** A node of this product runs: what else is there is its own, and wanted. */
  readonly runs: boolean;
  /** Process of a VPP that a node has left behind. */
  readonly vpp?: number;
  /** A BGP speaker of ours answers. */
  readonly has_gobgpd: boolean;
  /** What is still to be undone of the host, in words; or why that cannot be read. */
  readonly pending: readonly string[];
  readonly unreadable: readonly string[];
  /** Uplinks that are not given back, by what was written down before they were taken. */
  readonly captured: readonly string[];
  /** Links in VPP's namespace, by its path. */
  readonly strays: Readonly<Record<string, readonly string[]>>;
  /** Of nftables. */
  readonly tables: readonly string[];
  /** State files of the Go implementation from before the change. */
  readonly go_states: readonly string[];
  readonly pod_records: { readonly directory: string; readonly count: number };
  readonly status_files: { readonly directory: string; readonly count: number };
}

/** Reads alone: what would be mended in a damaged file stays as it is. */
const read_only: JournalFiles = {
  read: readIfExists,
  replace: () => undefined,
  append: () => undefined,
  truncate: () => undefined,
  copy: () => undefined,
  remove: () => undefined,
};
const journals = ['undo.journal', 'core-pattern.journal'] as const;

export interface WayBackTools {
  readonly run: RunCommand;
  readonly host_root: string | undefined;
  readonly host: HostNetwork;
  readonly boot_id: string;
  readonly wall_ms: number;
  readonly runs: boolean;
  readonly status_directory: string;
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

export async function gatherWayBack(
  { vpp, paths }: Pick<RestoreConfig, 'vpp' | 'paths'>,
  { run, host_root, host, boot_id, wall_ms, runs, status_directory }: WayBackTools,
  roots: HostRoots = HOST_ROOTS,
): Promise<WayBackFacts> {
  const opened = journals.map((name) =>
    openJournal(join(paths.state_dir, name), boot_id, wall_ms, read_only),
  );
  const captured = new CapturedStore(join(paths.state_dir, 'uplinks.json'), boot_id, read_only);
  const record = readRunRecord(join(paths.run_dir, 'vpp-run.json'));
  const is_alive =
    record?.boot_id === boot_id && processStartTime(record.pid, roots)?.toString() === record.start_time;
  const namespaces = [paths.netns_dir, join(paths.run_dir, 'netns')].map((directory) =>
    join(directory, vpp.netns),
  );
  const strays = namespaces
    .filter((path) => host.identify(path) !== undefined)
    .map((path) => {
      const links = within(host.open(path), (namespace) => namespace.links());
      return [path, links.map(({ name }) => name).filter((name) => name !== 'lo')] as const;
    });
  const pods = join(paths.run_dir, 'pods');
  return {
    runs,
    ...(is_alive && { vpp: record.pid }),
    has_gobgpd: listensAt(paths.gobgpd_socket, roots),
    pending: opened.flatMap(({ journal }) => journal.pending().map(describeStep)),
    unreadable: opened.flatMap(({ set_aside }, at) =>
      set_aside === undefined ? [] : [`${join(paths.state_dir, journals[at]!)}: ${set_aside.reason}`],
    ),
    captured: (captured.load()?.uplinks ?? []).map(({ link }) => link.name),
    strays: Object.fromEntries(strays),
    tables: await hostTables({ run, host_root }),
    go_states: goStateFiles(paths.run_dir).filter((path) => existsSync(path)),
    pod_records: { directory: pods, count: namesIn(pods).length },
    status_files: {
      directory: status_directory,
      count: namesIn(status_directory).filter(isStatusFileName).length,
    },
  };
}

const shown_max = 5;
const few = (texts: readonly string[]): string =>
  texts.length > shown_max
    ? `${texts.slice(0, shown_max).join('; ')}; and ${texts.length - shown_max} more`
    : texts.join('; ');
const restore = 'run `calico-vpp-node restore` with the environment of the node';

/** What is wrong first; without findings of that kind the node is free for the Go implementation. */
export function wayBackFindings(facts: WayBackFacts): Finding[] {
  if (facts.runs)
    return [
      error(
        'calico-vpp-node',
        'runs on this node',
        'it has the uplink, the CNI socket and those of VPP',
        'replace its DaemonSet, or take it off this node; when its pod has ended, check again',
      ),
    ];
  const found: Finding[] = [];
  if (facts.vpp !== undefined)
    found.push(
      error('VPP', `of a node that was killed runs (process ${facts.vpp})`, 'it has the uplink', restore),
    );
  if (facts.has_gobgpd)
    found.push(
      error(
        'gobgpd',
        'of a node that was killed answers',
        'it has port 179, on which the Go implementation listens for BGP itself',
        restore,
      ),
    );
  for (const text of facts.unreadable)
    found.push(error('undo journal', text, 'what is to be undone of the host may be in it', restore));
  if (facts.pending.length > 0)
    found.push(
      error(
        'undo journal',
        `has ${facts.pending.length} step(s): ${few(facts.pending)}`,
        'the host is not as it was, and the Go implementation would take that for its own state',
        restore,
      ),
    );
  else if (facts.captured.length > 0)
    found.push(
      error(
        'undo journal',
        `is gone, and ${facts.captured.join(', ')} was not given back`,
        'the host is not as it was',
        restore,
      ),
    );
  for (const [path, links] of Object.entries(facts.strays))
    if (links.length > 0)
      found.push(
        error(path, `has ${links.join(', ')}`, 'an uplink that is in there is not the host’s', restore),
      );
  for (const table of facts.tables)
    found.push(
      error(
        `nftables ${table}`,
        'is there',
        'what the host sends to services, or answers of them, goes by what it said last',
        `${restore}, or \`nft delete table ${table}\``,
      ),
    );
  for (const path of facts.go_states)
    found.push(
      warning(
        path,
        'is from before the change to this product',
        'the Go implementation reads it and looks in VPP for pods whose interfaces are gone',
        'remove it, and re-create the pods of this node',
      ),
    );
  const { pod_records: pods, status_files: statuses } = facts;
  if (pods.count > 0)
    found.push(
      warning(
        pods.directory,
        `has records of ${pods.count} pod interface(s)`,
        'the Go implementation reads none of them, and these pods have no network with it; this product would look for them when it comes back',
        're-create the pods of this node once the Go implementation runs there, and remove the directory',
      ),
    );
  if (statuses.count > 0)
    found.push(
      warning(
        statuses.directory,
        `has files of ${statuses.count} endpoint(s)`,
        'with the Go implementation nobody removes them, and a pod of such a name is not waited for; for others policy_setup_timeout_seconds of the CNI plugin runs out each time',
        'remove them, and take policy_setup_timeout_seconds out of the CNI configuration where it is',
      ),
    );
  if (found.length === 0) found.push(ok('this node', 'has nothing that would disturb the Go implementation'));
  return found;
}
