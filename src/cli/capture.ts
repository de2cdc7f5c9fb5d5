/** `trace` and `pcap`: what packets go through in VPP. One of them at a time on a node; VPP is left as it was found, also when interrupted. */
import { randomBytes } from 'node:crypto';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { systemClock } from '../clock.js';
import { fetchDebug } from '../debug/client.js';
import type { Status } from '../debug/status.js';
import { AlreadyRunning, lockInstance } from '../host/instance-lock.js';
import { checkedInterface, checkedNode, input_node_default, input_nodes, interfaceName } from './captures.js';
import { exit_codes, type Invocation, type Streams, text } from './invocation.js';
import { askVpp, fetchWhy, type Sockets, socketsOf } from './node-client.js';
import { NodeRefused, numberOption, UsageError } from './usage.js';

const packets_default = 50;
const packets_max = 10_000;
const seconds_default = 10;
const seconds_max = 600;
const bytes_default = 512;
const bytes_max = 9000;
/** VPP writes captures here, and nowhere else. */
const capture_directory = '/tmp';
const filter_pattern = /^[A-Za-z0-9 .:/()&|!=<>[\]-]{1,200}$/;
const plain_filter = 'vnet_is_packet_traced';

async function alone<T>(run_dir: string, work: () => Promise<T>): Promise<T> {
  const lock = await lockInstance(`capture/${run_dir}`, systemClock, 0).catch((error: Error) => {
    if (!(error instanceof AlreadyRunning)) throw error;
    throw new NodeRefused('another trace or capture of this node is under way: wait for its end');
  });
  try {
    return await work();
  } finally {
    lock.release();
  }
}

/** Rejects with NodeRefused when VPP does not take it: what is told here it takes without a word, and its command line has no exit code. */
async function tell(cli: string, command: string): Promise<void> {
  const said = (await askVpp(cli, command)).trim().replace(/\s+/g, ' ');
  if (said !== '') throw new NodeRefused(`VPP refuses \`${command}\`: ${said.slice(0, 500)}`);
}

/** Tells each second how it stands; ends early when the user interrupts. */
async function waitWith(seconds: number, say: (left_s: number) => void): Promise<void> {
  let interrupted = false;
  let wake = (): void => undefined;
  const interrupt = (): void => {
    interrupted = true;
    wake();
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, interrupt);
  // Run in the pod by a kubectl that is gone: nobody reads what is written each second.
  process.stderr.on('error', interrupt);
  try {
    for (let left = seconds; left > 0 && !interrupted; left -= 1) {
      say(Math.ceil(left));
      await new Promise<void>((resolve) => {
        const timer = systemClock.after(Math.min(1, left) * 1000, resolve);
        wake = () => {
          timer.cancel();
          resolve();
        };
      });
    }
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
    process.stderr.off('error', interrupt);
  }
}

/** With the filter set, if there is one, and taken back in any case. */
async function filtered<T>(
  cli: string,
  kind: 'trace' | 'pcap',
  filter: string | undefined,
  work: (word: string) => Promise<T>,
): Promise<T> {
  if (filter === undefined) return work('');
  if (!filter_pattern.test(filter))
    throw new UsageError('--filter takes an expression of pcap, such as "host 10.0.0.1 and tcp port 80"');
  try {
    await tell(cli, `set bpf trace filter {${filter}}`);
    await tell(cli, `set ${kind} filter function bpf_trace_filter`);
    return await work(' filter');
  } finally {
    await askVpp(cli, `set ${kind} filter function ${plain_filter}`).catch(() => undefined);
    await askVpp(cli, 'set bpf trace filter del').catch(() => undefined);
  }
}

function limitsOf(options: Invocation['options']) {
  return {
    packets: Math.floor(numberOption(options.packets, 'packets', packets_default, 1, packets_max)),
    seconds: numberOption(options.seconds, 'seconds', seconds_default, 0.1, seconds_max),
    filter: text(options.filter),
  };
}

function socketsFor({ env, options }: Invocation): Sockets {
  const at = socketsOf(env);
  return { ...at, debug: text(options.socket) ?? at.debug, cli: text(options['cli-socket']) ?? at.cli };
}

/** What packets of the uplink come in by. */
async function uplinkInput({ debug }: Sockets): Promise<string> {
  const { body } = await fetchDebug(debug, '/status');
  const [uplink] = (JSON.parse(body) as Status).uplinks;
  return input_nodes[uplink?.driver ?? ''] ?? input_node_default;
}

export async function trace(call: Invocation, { stdout, stderr }: Streams): Promise<number> {
  const { options, operands } = call;
  if (operands.length > 1) throw new UsageError('one pod at a time');
  const { packets, seconds, filter } = limitsOf(options);
  const sockets = socketsFor(call);
  const { cli, run_dir } = sockets;
  const named = text(options['input-node']);
  if (operands[0] !== undefined) await fetchWhy(sockets.debug, `pod/${operands[0].replace(/^pod\//, '')}`);
  const node =
    named !== undefined
      ? checkedNode(named)
      : operands[0] !== undefined
        ? input_nodes.pod!
        : await uplinkInput(sockets);
  return alone(run_dir, () =>
    filtered(cli, 'trace', filter, async (word) => {
      await tell(cli, 'clear trace');
      try {
        await tell(cli, `trace add ${node} ${packets}${word}`);
        await waitWith(seconds, (left) =>
          stderr.write(`trace: up to ${packets} packets of ${node}, ${left} s left\n`),
        );
        stdout.write(await askVpp(cli, `show trace max ${packets}`));
        return exit_codes.done;
      } finally {
        await askVpp(cli, 'clear trace').catch(() => undefined);
      }
    }),
  );
}

async function interfaceOf(sockets: Sockets, options: Invocation['options'], pod?: string): Promise<string> {
  const named = text(options.interface);
  if (named !== undefined) return checkedInterface(named);
  if (pod === undefined) return 'any';
  const found = await fetchWhy(sockets.debug, `pod/${pod.replace(/^pod\//, '')}`);
  const index =
    found.kind === 'pod' ? found.interfaces.find(({ sw_if_index }) => sw_if_index >= 0) : undefined;
  if (index === undefined)
    throw new NodeRefused(`VPP has no interface of pod ${pod}: \`calico-vpp-node why ${pod}\` says why`);
  const name = interfaceName(await askVpp(sockets.cli, 'show interface'), index.sw_if_index);
  if (name === undefined)
    throw new NodeRefused(`VPP does not show interface ${index.sw_if_index} of pod ${pod}: try again`);
  return name;
}

export async function pcap(call: Invocation, { stdout, stderr }: Streams): Promise<number> {
  const { options, operands } = call;
  if (operands.length > 1) throw new UsageError('one pod at a time');
  const output = text(options.output) ?? (stdout.isTTY ? undefined : '-');
  if (output === undefined)
    throw new UsageError('--output FILE is needed: a capture is nothing for a terminal');
  const { packets, seconds, filter } = limitsOf(options);
  const bytes = Math.floor(numberOption(options.bytes, 'bytes', bytes_default, 64, bytes_max));
  const sockets = socketsFor(call);
  const { cli, run_dir } = sockets;
  const name = await interfaceOf(sockets, options, operands[0]);
  // VPP follows whatever is there by this name, and others may write to that directory: nobody is to know it before.
  const file = `calico-vpp-node-${randomBytes(8).toString('hex')}.pcap`;
  const path = `${capture_directory}/${file}`;
  return alone(run_dir, () =>
    filtered(cli, 'pcap', filter, async (word) => {
      try {
        await tell(
          cli,
          `pcap trace rx tx max ${packets} intfc ${name} file ${file} max-bytes-per-pkt ${bytes}${word}`,
        );
        await waitWith(seconds, (left) =>
          stderr.write(`pcap: up to ${packets} packets of ${name}, ${left} s left\n`),
        );
      } finally {
        stderr.write(`pcap: ${(await askVpp(cli, 'pcap trace off')).trim().replace(/\s+/g, ' ')}\n`);
      }
      const captured = capturedAt(path);
      if (output === '-') stdout.write(captured);
      else writeOutput(output, captured);
      return exit_codes.done;
    }),
  );
}

/** Read once, and gone. */
function capturedAt(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new NodeRefused('no packet was captured: is there traffic, and does --filter let it through?');
    throw error;
  } finally {
    rmSync(path, { force: true });
  }
}

/** A file that only its owner may read; throws NodeRefused. */
export function writeOutput(path: string, content: Buffer): void {
  try {
    writeFileSync(path, content, { mode: 0o600 });
    // The mode of a file that was there before.
    chmodSync(path, 0o600);
  } catch (error) {
    throw new NodeRefused(
      `${path} cannot be written: ${(error as Error).message}; name another file with --output`,
    );
  }
}
