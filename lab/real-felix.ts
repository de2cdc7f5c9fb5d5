/** A real Felix, with an etcd that it reads: both in a network namespace of their own, which has nothing but its loopback. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NetnsLab } from './netns.js';

export type FoundFelix =
  | { readonly usable: true; readonly felix: string; readonly etcd: string }
  | { readonly usable: false; readonly why: string };

/** FELIX_BIN names calico-felix, ETCD_BIN etcd. */
export function findRealFelix({ FELIX_BIN, ETCD_BIN }: NodeJS.ProcessEnv = process.env): FoundFelix {
  for (const [name, path] of Object.entries({ FELIX_BIN, ETCD_BIN })) {
    if (path === undefined) return { usable: false, why: `${name} is not set` };
    if (!existsSync(path)) return { usable: false, why: `${name}: there is no ${path}` };
  }
  return { usable: true, felix: FELIX_BIN!, etcd: ETCD_BIN! };
}

/** The name by which Felix knows its node. */
export const felix_node = 'node1';

const build_script = fileURLToPath(new URL('../../native/build.sh', import.meta.url));
const etcd_url = 'http://127.0.0.1:2379';
const resources = '/calico/resources/v3/projectcalico.org';
const start_tries = 60;
const try_again_ms = 500;

/** Run inside: the namespace has its own loopback. */
const put_program = `
const [url, items] = process.argv.slice(1);
const base64 = (text) => Buffer.from(text).toString('base64');
for (const [key, value] of Object.entries(JSON.parse(items)))
  await fetch(url + '/v3/kv/put', { method: 'POST', body: JSON.stringify({ key: base64(key), value: base64(JSON.stringify(value)) }) });
`;
const keys_program = `
const [url, prefix] = process.argv.slice(1);
const base64 = (text) => Buffer.from(text).toString('base64');
const answer = await fetch(url + '/v3/kv/range', { method: 'POST', body: JSON.stringify({ key: base64(prefix), range_end: base64(prefix + '~') }) });
const { kvs = [] } = await answer.json();
console.log(JSON.stringify(Object.fromEntries(kvs.map(({ key, value }) => [Buffer.from(key, 'base64').toString(), Buffer.from(value, 'base64').toString()]))));
`;

/** Objects of Calico's, by their keys in etcd. */
export type Stored = Readonly<Record<string, object>>;

/** `place`: plural, and namespace and name, as in the key. */
export function stored(kind: string, place: string, spec: object, more: object = {}): Stored {
  const name = place.split('/').at(-1)!;
  const uid = `00000000-0000-0000-0000-${name.length.toString().padStart(12, '0')}`;
  const metadata = { name, uid, ...more };
  return { [`${resources}/${place}`]: { kind, apiVersion: 'projectcalico.org/v3', metadata, spec } };
}

/** What Felix needs before it tells anything, and a profile that allows all for each namespace. */
export function storedCluster(...namespaces: readonly string[]): Stored {
  const open = { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] };
  return {
    ...stored('ClusterInformation', 'clusterinformations/default', {
      datastoreReady: true,
      clusterGUID: 'a-guid',
      calicoVersion: 'v3.32.1',
    }),
    ...stored('Tier', 'tiers/default', { order: 1_000_000, defaultAction: 'Deny' }),
    ...Object.assign({}, ...namespaces.map((name) => stored('Profile', `profiles/kns.${name}`, open))),
  };
}

/** A pod of Felix's node. */
export function storedPod(
  namespace: string,
  pod: string,
  labels: Readonly<Record<string, string>>,
  ipNetworks: readonly string[],
  interfaceName = `cali${pod}`,
): Stored {
  const name = `${felix_node}-k8s-${pod.replaceAll('-', '--')}-eth0`;
  const own = {
    'projectcalico.org/namespace': namespace,
    'projectcalico.org/orchestrator': 'k8s',
  };
  return stored(
    'WorkloadEndpoint',
    `workloadendpoints/${namespace}/${name}`,
    {
      orchestrator: 'k8s',
      node: felix_node,
      pod,
      endpoint: 'eth0',
      interfaceName,
      ipNetworks,
      profiles: [`kns.${namespace}`],
    },
    { namespace, labels: { ...labels, ...own } },
  );
}

export class RealFelix {
  readonly directory = mkdtempSync(join(tmpdir(), 'real-felix-'));
  readonly #binaries: Extract<FoundFelix, { usable: true }>;
  readonly #lab = new NetnsLab();
  readonly #netns: string;
  readonly #children: ChildProcess[] = [];
  /** What each Felix has said. */
  said = '';

  constructor(binaries: Extract<FoundFelix, { usable: true }>) {
    this.#binaries = binaries;
    this.#netns = this.#lab.namespace('felix');
  }

  /** Ends them all, and removes their files. */
  close(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    this.#lab.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** An etcd with this in it. */
  async startEtcd(objects: Stored): Promise<void> {
    const etcd = this.#inside(this.#binaries.etcd, [
      ...['--data-dir', join(this.directory, 'etcd'), '--listen-client-urls', etcd_url],
      ...['--advertise-client-urls', etcd_url, '--listen-peer-urls', 'http://127.0.0.1:2380'],
    ]);
    etcd.stdout!.resume();
    etcd.stderr!.resume();
    for (let tries = 0; ; tries += 1) {
      try {
        return this.put(objects);
      } catch (error) {
        if (tries === start_tries) throw error;
        await sleep(try_again_ms);
      }
    }
  }

  put(objects: Stored): void {
    this.#script(put_program, JSON.stringify(objects));
  }

  /** By key, those whose keys begin so. */
  get(prefix: string): Record<string, string> {
    return JSON.parse(this.#script(keys_program, prefix));
  }

  /** Builds the driver and has it connect to this socket: Felix starts its driver without a word, which knows the path of a cluster alone. */
  makeDriver(socket: string): void {
    const proxy = join(this.directory, 'felix-api-proxy');
    const { status } = spawnSync('sh', [build_script, proxy]);
    if (status !== 0) throw new Error(`the driver is not built: exit code ${status}`);
    writeFileSync(this.#driver, `#!/bin/sh\nexec ${proxy} ${socket}\n`);
    chmodSync(this.#driver, 0o755);
  }

  get #driver(): string {
    return join(this.directory, 'driver');
  }

  start(): ChildProcess {
    const child = this.#inside(this.#binaries.felix, [], {
      // Felix's own variables of these names are read, and not heeded (3.32).
      DATASTORE_TYPE: 'etcdv3',
      ETCD_ENDPOINTS: etcd_url,
      FELIX_FELIXHOSTNAME: felix_node,
      FELIX_USEINTERNALDATAPLANEDRIVER: 'false',
      FELIX_DATAPLANEDRIVER: this.#driver,
      FELIX_LOGSEVERITYSCREEN: 'info',
      FELIX_LOGSEVERITYFILE: 'none',
      FELIX_LOGFILEPATH: 'none',
      FELIX_HEALTHENABLED: 'false',
      FELIX_USAGEREPORTINGENABLED: 'false',
      FELIX_ENDPOINTREPORTINGENABLED: 'true',
      FELIX_REPORTINGINTERVALSECS: '3',
      FELIX_ENDPOINTSTATUSPATHPREFIX: this.directory,
    });
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (chunk) => {
        this.said = `${this.said}${chunk}`.slice(-100_000);
      });
    return child;
  }

  /** As the kernel ends one for want of memory. Its driver ends with it. */
  async kill(felix: ChildProcess): Promise<void> {
    const ended = once(felix, 'exit');
    felix.kill('SIGKILL');
    await ended;
  }

  #inside(program: string, argv: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const child = spawn('nsenter', [`--net=${this.#netns}`, '--', program, ...argv], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, ...env },
    });
    this.#children.push(child);
    return child;
  }

  #script(program: string, ...words: readonly string[]): string {
    return this.#lab.run('felix', process.execPath, '--input-type=module', '-e', program, etcd_url, ...words);
  }
}
