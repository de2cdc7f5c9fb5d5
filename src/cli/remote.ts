/** A command on another node, from wherever kubectl works: it is run in the node's pod, where all of its sockets are. */
import { execFile, spawn } from 'node:child_process';
import { createWriteStream, fchmodSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { exit_codes, type Invocation, type Streams, text } from './invocation.js';
import { NodeRefused, UsageError } from './usage.js';

const namespace_default = 'calico-vpp-dataplane';
const selector = 'k8s-app=calico-vpp-node';
const container = 'vpp';
const list_ms = 20_000;
const list_bytes_max = 8 * 1024 * 1024;
/** A name of Kubernetes: nothing that kubectl would take for an option. */
const name_pattern = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const format = 'jsonpath={range .items[*]}{.spec.nodeName} {.metadata.name} {.status.phase}{"\\n"}{end}';

/** Commands whose output is a file. */
const to_file = { pcap: 'pcap', export: 'tar.gz' } as const;

interface NodePod {
  readonly node: string;
  readonly pod: string;
  readonly phase: string;
}

function checked(name: string, what: string): string {
  if (name_pattern.test(name)) return name;
  throw new UsageError(`${JSON.stringify(name)} is no ${what}`);
}

const kubectlOf = (env: NodeJS.ProcessEnv): string => env.KUBECTL || 'kubectl';

const notStarted = (kubectl: string): NodeRefused =>
  new NodeRefused(`${kubectl} cannot be started: install kubectl, or name it with KUBECTL`);

function listPods(env: NodeJS.ProcessEnv, namespace: string): Promise<readonly NodePod[]> {
  const kubectl = kubectlOf(env);
  const argv = ['get', 'pods', '--namespace', namespace, '--selector', selector, '--output', format];
  return new Promise((resolve, reject) => {
    execFile(kubectl, argv, { env, timeout: list_ms, maxBuffer: list_bytes_max }, (error, stdout, stderr) => {
      if (error === null) {
        const lines = stdout.split('\n').filter((line) => line.trim() !== '');
        resolve(
          lines.map((line) => {
            const [node = '', pod = '', phase = ''] = line.split(' ');
            return { node, pod, phase };
          }),
        );
      } else if (error.code === ('ENOENT' as unknown)) reject(notStarted(kubectl));
      else
        reject(
          new NodeRefused(
            `kubectl get pods: ${stderr.trim().slice(0, 500) || (error.killed ? `no answer within ${list_ms / 1000} s` : error.message)}`,
          ),
        );
    });
  });
}

async function podOn(env: NodeJS.ProcessEnv, namespace: string, node: string): Promise<string> {
  const pods = await listPods(env, namespace);
  const here = pods.filter((pod) => pod.node === node);
  const found = here.find(({ phase }) => phase === 'Running') ?? here[0];
  if (found !== undefined) return checked(found.pod, 'pod');
  const nodes = [...new Set(pods.map((pod) => pod.node))].sort();
  throw new NodeRefused(
    nodes.length === 0
      ? `there are no pods ${selector} in namespace ${namespace}: name another with --namespace`
      : `no pod of calico-vpp-node is on node ${node}; they are on ${nodes.slice(0, 50).join(', ')}`,
  );
}

/** The command line without what was for here. */
function remoteArguments(argv: readonly string[], takes: readonly string[]): readonly string[] {
  const own = new Set([...takes, 'node', 'namespace', 'output']);
  const kept: string[] = [];
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i]!;
    if (word === '--') return [...kept, ...argv.slice(i)];
    const [flag = '', ...value] = word.split('=');
    if (flag.startsWith('--') && own.has(flag.slice(2))) {
      if (value.length === 0) i += 1;
    } else kept.push(word);
  }
  return kept;
}

/** Runs the command in the pod on `--node`. `argv`: with the command's name. Resolves with its exit code. */
export async function runRemotely(
  name: string,
  argv: readonly string[],
  { env, options, operands }: Invocation,
  streams: Streams,
): Promise<number> {
  const node = checked(text(options.node)!, 'node');
  const namespace = checked(text(options.namespace) ?? namespace_default, 'namespace');
  const pod = await podOn(env, namespace, node);
  if (name === 'log') {
    const lines = text(options.last) ?? '200';
    if (!/^\d{1,7}$/.test(lines)) throw new UsageError('--last takes a number of lines');
    const follow = options.follow === true ? ['--follow'] : [];
    return run(
      env,
      ['logs', '--namespace', namespace, pod, '--container', container, '--tail', lines, ...follow],
      streams,
    );
  }
  const is_interactive = name === 'vppctl' && operands.length === 0 && streams.stdin.isTTY === true;
  const exec = ['exec', '--namespace', namespace, pod, '--container', container];
  const terminal = is_interactive
    ? ['--stdin', '--tty']
    : name === 'vppctl' && operands.length === 0
      ? ['--stdin']
      : [];
  const command = ['--', 'calico-vpp-node', ...remoteArguments(argv, ['socket'])];
  const suffix = Object.hasOwn(to_file, name) ? to_file[name as keyof typeof to_file] : undefined;
  if (suffix === undefined) return run(env, [...exec, ...terminal, ...command], streams, is_interactive);
  const output = text(options.output) ?? `${name}-${node}.${suffix}`;
  const code = await runToFile(env, [...exec, ...command, '--output', '-'], output, streams);
  if (code === exit_codes.done) streams.stderr.write(`${name}: written to ${output}\n`);
  return code;
}

function run(
  env: NodeJS.ProcessEnv,
  argv: readonly string[],
  { stdin, stdout, stderr }: Streams,
  is_terminal = false,
): Promise<number> {
  const kubectl = kubectlOf(env);
  return new Promise((resolve, reject) => {
    const takes_input = argv.includes('--stdin');
    const child = spawn(kubectl, argv, {
      env,
      stdio: is_terminal ? 'inherit' : [takes_input ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
    child.stdout?.on('data', (chunk: Buffer) => {
      // What a slow reader has not taken holds kubectl back.
      if (!stdout.write(chunk) && typeof stdout.once === 'function') {
        child.stdout!.pause();
        stdout.once('drain', () => child.stdout!.resume());
      }
    });
    // Who has seen enough, as `head` has, takes no more.
    stdout.once?.('error', () => {
      child.kill();
      child.stdout?.destroy();
    });
    child.stderr?.on('data', (chunk: Buffer) => stderr.write(chunk));
    child.stdin?.on('error', () => undefined);
    if (takes_input && child.stdin) stdin.pipe(child.stdin);
    child.once('error', () => reject(notStarted(kubectl)));
    child.once('close', (code) => resolve(code ?? exit_codes.failed));
  });
}

async function runToFile(
  env: NodeJS.ProcessEnv,
  argv: readonly string[],
  path: string,
  { stderr }: Streams,
): Promise<number> {
  const kubectl = kubectlOf(env);
  const file = createWriteStream(path, { mode: 0o600 });
  // The mode of a file that was there before.
  file.once('open', (fd) => fchmodSync(fd, 0o600));
  const written = finished(file).catch((error: Error) => {
    throw new NodeRefused(`${path} cannot be written: ${error.message}; name another file with --output`);
  });
  const child = spawn(kubectl, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stderr.on('data', (chunk: Buffer) => stderr.write(chunk));
  child.stdout.pipe(file);
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', () => {
      file.end();
      reject(notStarted(kubectl));
    });
    child.once('close', (code) => resolve(code ?? exit_codes.failed));
  });
  file.once('error', () => child.kill());
  const [, code] = await Promise.all([written, ended]);
  return code;
}
