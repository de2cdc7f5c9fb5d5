import { parseArgs } from 'node:util';
import { nearest } from '../config/nearest.js';
import { build } from '../debug/build.js';
import { DebugUnreachable, fetchDebug } from '../debug/client.js';
import { isWell, servicesText } from '../debug/services-text.js';
import type { Status } from '../debug/status.js';
import type { ShownNode } from '../debug/tree-filter.js';
import { treeText } from '../debug/tree-text.js';
import type { ShownServices } from '../messages/services.js';
import { pcap, trace } from './capture.js';
import {
  type CommandName,
  command_names,
  commandHelp,
  commands,
  generalHelp,
  optionSpecs,
} from './commands.js';
import { exportBundle } from './export.js';
import { exit_codes, type Invocation, type Streams, text } from './invocation.js';
import { fetched, refused, socketsOf } from './node-client.js';
import { flows, why } from './objects.js';
import { runRemotely } from './remote.js';
import { statusText } from './status-text.js';
import { NodeRefused, numberOption, UsageError } from './usage.js';
import { joinVppCli, runVppCommands, VppCliError } from './vpp-cli.js';

export { exit_codes, type Invocation, type Streams } from './invocation.js';

/** Resolves with the exit code. */
export type Handler = (invocation: Invocation) => Promise<number>;

/** The subcommands that need more than a socket to a running node. */
export type Handlers = Readonly<Record<'run' | 'check' | 'restore' | 'demo', Handler>>;

const TIMEOUT_S = 30;
const LOG_LINES = 200;
const SCRIPT_BYTES_MAX = 1024 * 1024;

async function tree({ env, options }: Invocation, { stdout }: Streams): Promise<number> {
  const query = new URLSearchParams();
  for (const [name, value] of [
    ['depth', options.depth],
    ['state', options.state],
    ['min_mailbox', options['min-mailbox']],
  ] as const) {
    if (typeof value === 'string') query.set(name, value);
  }
  const socket = text(options.socket) ?? socketsOf(env).debug;
  const body = await fetched(socket, `/debug/tree?${query}`);
  if (options.json) {
    stdout.write(body);
    return exit_codes.done;
  }
  const answer = JSON.parse(body) as { tree: ShownNode; as_of: string; main_loop: { blocked_ms: number } };
  if (answer.main_loop.blocked_ms > 0) {
    stdout.write(
      `the main loop has been blocked for ${answer.main_loop.blocked_ms} ms; as of ${answer.as_of}:\n`,
    );
  }
  stdout.write(
    treeText(answer.tree, {
      now_ms: Date.parse(answer.as_of),
      unicode: options.ascii !== true,
      ...(stdout.isTTY && { columns: stdout.columns }),
    }),
  );
  return exit_codes.done;
}

async function status({ env, options }: Invocation, { stdout }: Streams): Promise<number> {
  const fetched = await fetchDebug(text(options.socket) ?? socketsOf(env).debug, '/status');
  const { body, status: code } = fetched;
  if (code !== 200 && code !== 503) throw refused(fetched);
  const answer = JSON.parse(body) as Status;
  stdout.write(options.json ? body : statusText(answer, Date.parse(answer.lastUpdate)));
  return answer.ready ? exit_codes.done : exit_codes.failed;
}

async function services({ env, options, operands }: Invocation, { stdout }: Streams): Promise<number> {
  const [name, ...more] = operands;
  if (more.length > 0) throw new UsageError('one service at a time');
  if (name !== undefined && !/^[^/]+\/[^/]+$/.test(name))
    throw new UsageError(`${JSON.stringify(name)} is no service: give namespace/name`);
  const query = new URLSearchParams({
    ...(name !== undefined && { service: name }),
    ...(options.dump === true && { dump: '' }),
  });
  const socket = text(options.socket) ?? socketsOf(env).debug;
  const body = await fetched(socket, `/debug/services?${query}`);
  const answer = JSON.parse(body) as ShownServices;
  stdout.write(options.json ? body : servicesText(answer, name));
  return isWell(answer) ? exit_codes.done : exit_codes.failed;
}

async function log({ env, options, operands }: Invocation, { stdout }: Streams): Promise<number> {
  if (operands.length > 0) throw new UsageError('log takes no operands');
  if (options.follow) throw new UsageError('--follow goes with --node: `kubectl logs` has all there is');
  const last = Math.floor(numberOption(options.last, 'last', LOG_LINES, 1, 2000));
  stdout.write(await fetched(text(options.socket) ?? socketsOf(env).debug, `/debug/log?last=${last}`));
  return exit_codes.done;
}

async function readScript(stdin: NodeJS.ReadStream): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    const data = Buffer.from(chunk);
    bytes += data.length;
    if (bytes > SCRIPT_BYTES_MAX) throw new UsageError(`more than ${SCRIPT_BYTES_MAX} bytes of commands`);
    chunks.push(data);
  }
  return Buffer.concat(chunks).toString();
}

async function vppctl({ env, options, operands }: Invocation, streams: Streams): Promise<number> {
  const { stdin, stdout } = streams;
  const socket = text(options.socket) ?? socketsOf(env).cli;
  const seconds = Number(options.timeout ?? TIMEOUT_S);
  if (!(seconds > 0 && seconds <= 86_400))
    throw new UsageError('--timeout takes a number of seconds, at most 86400');
  if (operands.length === 0 && stdin.isTTY) {
    await joinVppCli(socket, { input: stdin, output: stdout, type: env.TERM ?? 'dumb' });
    return exit_codes.done;
  }
  const script = operands.length > 0 ? operands.join(' ') : await readScript(stdin);
  const lines = script.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) throw new UsageError('no command was given');
  await runVppCommands(socket, lines, (output) => stdout.write(output), seconds * 1000);
  return exit_codes.done;
}

function nameOf(word: string): CommandName {
  const name = command_names.find((known) => known === word);
  if (name !== undefined) return name;
  const [meant] = nearest(word, command_names);
  throw new UsageError(
    `${JSON.stringify(word)} is not a command${meant === undefined ? '' : `; did you mean ${meant}?`}`,
  );
}

/** parseArgs would take the options of VPP's commands for its own: those of `vppctl` end at its first other word. */
function ownArguments(name: CommandName, argv: readonly string[]): readonly string[] {
  if (name !== 'vppctl' || argv.includes('--')) return argv;
  const specs = optionSpecs(commands[name]);
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i]!;
    if (!word.startsWith('-')) return [...argv.slice(0, i), '--', ...argv.slice(i)];
    const spec = Object.entries(specs).find(
      ([long, { short }]) => word === `--${long}` || word === `-${short}`,
    );
    if (spec?.[1].type === 'string') i += 1;
  }
  return argv;
}

function invocation(name: CommandName, argv: readonly string[], env: NodeJS.ProcessEnv): Invocation {
  const takes_operands = 'operands' in commands[name];
  try {
    const { values, positionals } = parseArgs({
      args: [...ownArguments(name, argv)],
      options: optionSpecs(commands[name]),
      allowPositionals: takes_operands,
      strict: true,
    });
    return { env, options: values as Invocation['options'], operands: positionals };
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function dispatch(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  handlers: Handlers,
  streams: Streams,
): Promise<number> {
  const [word, ...rest] = argv;
  if (word === undefined) throw new UsageError('a command is needed');
  if (word === '--version' || word === '-V') {
    streams.stdout.write(`calico-vpp-node ${build.version} (node ${build.node})\n`);
    return exit_codes.done;
  }
  if (word === '--help' || word === '-h' || word === 'help') {
    streams.stdout.write(rest[0] === undefined ? generalHelp() : commandHelp(nameOf(rest[0])));
    return exit_codes.done;
  }
  const name = nameOf(word);
  const call = invocation(name, rest, env);
  if (call.options.help) {
    streams.stdout.write(commandHelp(name));
    return exit_codes.done;
  }
  const own: Readonly<
    Record<Exclude<CommandName, keyof Handlers>, (call: Invocation, streams: Streams) => Promise<number>>
  > = { tree, status, services, why, flows, trace, pcap, log, vppctl, export: exportBundle };
  if (!(name in own)) return handlers[name as keyof Handlers](call);
  // Whoever reads the output may have seen enough, as `head` does; that is no error.
  streams.stdout.on('error', () => undefined);
  const code =
    call.options.node === undefined
      ? await own[name as keyof typeof own](call, streams)
      : await runRemotely(name, argv, call, streams);
  await flush(streams.stdout);
  return code;
}

/** A pipe takes long output in pieces: what is not through yet would be lost when the process exits. */
function flush(stdout: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stdout.write('', () => resolve()));
}

/**
 * Runs the command line; `argv` is without the interpreter and the script. Resolves with the exit code and prints what goes
 * wrong in using it; rejects only with what a handler rejects with.
 */
export async function runCli(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  handlers: Handlers,
  streams: Streams = process,
): Promise<number> {
  try {
    return await dispatch(argv, env, handlers, streams);
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof UsageError) {
      const [word] = argv;
      const help = command_names.includes(word as CommandName) ? `${word} --help` : '--help';
      streams.stderr.write(`calico-vpp-node: ${message}\nTry: calico-vpp-node ${help}\n`);
      return exit_codes.usage;
    }
    const unreachable = error instanceof DebugUnreachable || error instanceof VppCliError;
    if (!unreachable && !(error instanceof NodeRefused)) throw error;
    streams.stderr.write(`calico-vpp-node: ${message}\n`);
    return unreachable ? exit_codes.unreachable : exit_codes.failed;
  }
}
