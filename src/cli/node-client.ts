/** What the commands ask of a running node: its debug socket, and VPP's command line beside it. */
import { join } from 'node:path';
import { problemText } from '../config/problem.js';
import { Environment, variables } from '../config/variables.js';
import { type Fetched, fetchDebug } from '../debug/client.js';
import type { Why } from '../debug/why.js';
import { NodeRefused, UsageError } from './usage.js';
import { runVppCommands } from './vpp-cli.js';

export interface Sockets {
  readonly debug: string;
  readonly cli: string;
  readonly run_dir: string;
}

/** Where a running node of this environment listens. Reads nothing but the variables that say so. */
export function socketsOf(env: NodeJS.ProcessEnv): Sockets {
  const environment = new Environment(env);
  const run_dir = environment.read(variables.run_dir);
  const debug_socket = environment.read(variables.debug_socket);
  const [problem] = environment.problems;
  if (problem !== undefined) throw new UsageError(problemText(problem));
  return { run_dir, debug: debug_socket ?? join(run_dir, 'debug.sock'), cli: join(run_dir, 'cli.sock') };
}

/** What the endpoint refuses is said in its own words. */
export function refused({ status, body }: Fetched): UsageError | NodeRefused {
  let message: string | undefined;
  try {
    message = (JSON.parse(body) as { error?: string }).error;
  } catch {
    // Not of ours: the status is all there is.
  }
  message ??= `the node answered with status ${status}`;
  return status === 400 ? new UsageError(message) : new NodeRefused(message);
}

/** The body of an answer that is well. */
export async function fetched(socket: string, path: string, accept?: string): Promise<string> {
  const answer = await fetchDebug(socket, path, accept);
  if (answer.status !== 200) throw refused(answer);
  return answer.body;
}

export async function fetchWhy(socket: string, object: string): Promise<Why> {
  const body = await fetched(socket, `/debug/why?${new URLSearchParams({ object })}`);
  return (JSON.parse(body) as { why: Why }).why;
}

const output_max = 16 * 1024 * 1024;
const silent_ms = 15_000;

/** What VPP writes to one command; of more than 16 MiB the beginning. Rejects with VppCliError. */
export async function askVpp(socket: string, command: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  await runVppCommands(
    socket,
    [command],
    (output) => {
      bytes += output.length;
      if (bytes <= output_max) chunks.push(output);
    },
    silent_ms,
  );
  return Buffer.concat(chunks).toString().replaceAll('\r\n', '\n');
}
