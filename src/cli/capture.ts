/** `trace` and `pcap`: what packets go through in VPP. One of them at a time on a node; VPP is left as it was found, also when interrupted. */
import { randomBytes } from 'node:crypto';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { systemClock } from '../clock.js';
import { fetchDebug } from '../debug/client.js';
import type { Status } from '../debug/status.js';
import type { PodWhy } from '../debug/why.js';
import { AlreadyRunning, lockInstance } from '../host/instance-lock.js';
import {
  checkedInterface,
  checkedNode,
  chosenFilter,
  hasTraced,
  inputNodeOf,
  interfaceName,
  uplink_input_default,
  uplink_input_nodes,
} from './captures.js';
import { type Interruption, interruptible } from './interruption.js';
import { exit_codes, type Invocation, type Streams, text } from './invocation.js';
import { askVpp, fetchWhy, type Sockets, socketsOf } from './node-client.js';
import { asEthernet, link_types, packetsOf, pcapFile } from './pcap-file.js';
import type { PodCapture } from './pod-capture.js';
import { NodeRefused, numberOption, UsageError } from './usage.js';

const packets_default = 50;
/** VPP's workers stand still while it writes down what it has traced. */
const traced_max = 500;
const captured_max = 10_000;
const seconds_default = 10;
const seconds_max = 600;
const bytes_default = 512;
const bytes_max = 9000;
/** VPP keeps a capture in its main heap until it is written. */
const capture_bytes_max = 16 << 20;
/** VPP writes captures here, and nowhere else. */
const capture_directory = '/tmp';
const filter_pattern = /^[A-Za-z0-9 .:/()&|!=<>[\]-]{1,200}$/;
const plain_filter = 'vnet_is_packet_traced';

/** `work` is not ended by signals: see `interruptible`. */
async function alone<T>(run_dir: string, work: (interruption: Interruption) => Promise<T>): Promise<T> {
  const lock = await lockInstance(`capture/${run_dir}`, systemClock, 0).catch((error: Error) => {
    if (!(error instanceof AlreadyRunning)) throw error;
    throw new NodeRefused('another trace or capture of this node is under way: wait for its end');
  });
  try {
    return await interruptible(work);
  } finally {
    lock.release();
  }
}

const oneLine = (said: string): string => said.trim().replace(/\s+/g, ' ').slice(0, 500);

/** Rejects with NodeRefused when VPP does not take it: what is told here it takes without a word, and its command line has no exit code. */
async function tell(cli: string, command: string): Promise<void> {
  const said = oneLine(await askVpp(cli, command));
  if (said !== '') throw new NodeRefused(`VPP refuses \`${command}\`: ${said}`);
}

/** What others have set, or one that was killed has left, is not taken from them: who wants to says --clear. */
const others = (what: string): NodeRefused =>
  new NodeRefused(`${what}: wait until it is no longer of use to whoever has it, or say --clear`);

/** With the filter set, if there is one, and what was chosen before put back in any case. */
async function filtered<T>(
  cli: string,
  kind: 'trace' | 'pcap',
  { filter, clear }: { readonly filter: string | undefined; readonly clear: boolean },
  work: (word: string) => Promise<T>,
): Promise<T> {
  if (filter === undefined) return work('');
  const shown = await askVpp(cli, 'show bpf trace filter');
  if (shown.includes('unknown input'))
    throw new NodeRefused(
      'this VPP has no bpf_trace_filter plugin, which --filter needs: leave it away, or have a VPP with the plugin (`vppctl show plugins`)',
    );
  if (!clear && !shown.includes('is not set')) throw others('VPP has a filter of somebody else');
  const before = chosenFilter(await askVpp(cli, `show ${kind} filter function`)) ?? plain_filter;
  try {
    // VPP takes one pair of braces away with the line, and the other makes one word of the expression.
    const said = oneLine(await askVpp(cli, `set bpf trace filter {{${filter}}}`));
    if (said !== '') throw new NodeRefused(`VPP refuses the filter ${JSON.stringify(filter)}: ${said}`);
    await tell(cli, `set ${kind} filter function bpf_trace_filter`);
    return await work(' filter');
  } finally {
    await askVpp(cli, `set ${kind} filter function ${before}`).catch(() => undefined);
    await askVpp(cli, 'set bpf trace filter del').catch(() => undefined);
  }
}

function limitsOf(options: Invocation['options'], packets_max: number) {
  const filter = text(options.filter);
  if (filter !== undefined && !filter_pattern.test(filter))
    throw new UsageError('--filter takes an expression of pcap, such as "host 10.0.0.1 and tcp port 80"');
  return {
    packets: Math.floor(numberOption(options.packets, 'packets', packets_default, 1, packets_max)),
    seconds: numberOption(options.seconds, 'seconds', seconds_default, 0.1, seconds_max),
    filter,
    clear: options.clear === true,
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
  return uplink_input_nodes[uplink?.driver ?? ''] ?? uplink_input_default;
}

/** The interface of a pod that VPP has. Rejects with NodeRefused when there is none. */
async function deviceInVpp(debug: string, pod: string): Promise<PodWhy> {
  const found = await fetchWhy(debug, `pod/${pod.replace(/^pod\//, '')}`);
  const device =
    found.kind === 'pod' ? found.interfaces.find(({ sw_if_index }) => sw_if_index >= 0) : undefined;
  if (device === undefined)
    throw new NodeRefused(`VPP has no interface of pod ${pod}: \`calico-vpp-node why ${pod}\` says why`);
  return device;
}

/** VPP's name of a pod's interface. */
async function interfaceOfPod({ debug, cli }: Sockets, pod: string): Promise<string> {
  const { sw_if_index } = await deviceInVpp(debug, pod);
  const name = interfaceName(await askVpp(cli, 'show interface'), sw_if_index);
  if (name === undefined)
    throw new NodeRefused(`VPP does not show interface ${sw_if_index} of pod ${pod}: try again`);
  return name;
}

/** What packets of a pod come in by. */
async function podInput(sockets: Sockets, pod: string): Promise<string> {
  const name = await interfaceOfPod(sockets, pod);
  const node = inputNodeOf(await askVpp(sockets.cli, 'show interface rx-placement'), name);
  if (node === undefined)
    throw new NodeRefused(`VPP does not say what polls ${name} of pod ${pod}: name it with --input-node`);
  return node;
}

export async function trace(call: Invocation, { stdout, stderr }: Streams): Promise<number> {
  const { options, operands } = call;
  if (operands.length > 1) throw new UsageError('one pod at a time');
  const { packets, seconds, filter, clear } = limitsOf(options, traced_max);
  const sockets = socketsFor(call);
  const { cli, run_dir } = sockets;
  const named = text(options['input-node']);
  const [pod] = operands;
  const node =
    named !== undefined
      ? checkedNode(named)
      : pod === undefined
        ? await uplinkInput(sockets)
        : await podInput(sockets, pod);
  return alone(run_dir, async (interruption) => {
    if (clear) await tell(cli, 'clear trace');
    else if (hasTraced(await askVpp(cli, 'show trace max 1')))
      throw others('VPP has traced packets of somebody else (`vppctl show trace`)');
    return filtered(cli, 'trace', { filter, clear }, async (word) => {
      interruption.check();
      try {
        await tell(cli, `trace add ${node} ${packets}${word}`);
        await interruption.wait(seconds, (left) =>
          stderr.write(`trace: up to ${packets} packets of ${node}, ${left} s left\n`),
        );
        stdout.write(await askVpp(cli, `show trace max ${packets}`));
        return exit_codes.done;
      } finally {
        await askVpp(cli, 'clear trace').catch(() => undefined);
      }
    });
  });
}

export async function pcap(call: Invocation, streams: Streams): Promise<number> {
  const { options, operands } = call;
  if (operands.length > 1) throw new UsageError('one pod at a time');
  const { stdout, stderr } = streams;
  const output = text(options.output) ?? (stdout.isTTY ? undefined : '-');
  if (output === undefined)
    throw new UsageError('--output FILE is needed: a capture is nothing for a terminal');
  const limits = limitsOf(options, captured_max);
  const bytes = Math.floor(numberOption(options.bytes, 'bytes', bytes_default, 64, bytes_max));
  if (limits.packets * bytes > capture_bytes_max)
    throw new UsageError(`--packets by --bytes is to be at most ${capture_bytes_max}: memory has all of it`);
  const sockets = socketsFor(call);
  const [pod] = operands;
  const named = text(options.interface);
  if (pod !== undefined && named !== undefined)
    throw new UsageError('either a pod, or an interface of VPP with --interface');
  const say = (said: string): void => void stderr.write(`pcap: ${said}\n`);
  const captured =
    pod === undefined
      ? await captureVpp(
          sockets,
          named === undefined ? 'any' : checkedInterface(named),
          { ...limits, bytes },
          say,
        )
      : await captureOf(sockets, pod, { ...limits, bytes }, say);
  if (output === '-') stdout.write(captured);
  else writeOutput(output, captured);
  return exit_codes.done;
}

interface Limits extends PodCapture {
  readonly clear: boolean;
}

async function captureOf(
  { debug }: Sockets,
  pod: string,
  limits: Limits,
  say: (said: string) => void,
): Promise<Buffer> {
  const device = await deviceInVpp(debug, pod);
  const { capturePod } = await import('./pod-capture.js');
  return interruptible((interruption) => capturePod(pod, device, limits, interruption, say));
}

/** Of an interface of VPP, or of `any`. */
async function captureVpp(
  { cli, run_dir }: Sockets,
  name: string,
  { packets, seconds, bytes, filter, clear }: Limits,
  say: (said: string) => void,
): Promise<Buffer> {
  // VPP follows whatever is there by this name, and others may write to that directory: nobody is to know it before.
  const file = `calico-vpp-node-${randomBytes(8).toString('hex')}.pcap`;
  return alone(run_dir, (interruption) =>
    filtered(cli, 'pcap', { filter, clear }, async (word) => {
      interruption.check();
      // It says whether there was one.
      if (clear) say(oneLine(await askVpp(cli, 'pcap trace off')));
      // Refused, it may be because another's is under way: that one is not ended.
      await tell(
        cli,
        `pcap trace rx tx max ${packets} intfc ${name} file ${file} max-bytes-per-pkt ${bytes}${word}`,
      );
      try {
        await interruption.wait(seconds, (left) =>
          say(`up to ${packets} packets of ${name}, ${left} s left`),
        );
      } finally {
        say(oneLine(await askVpp(cli, 'pcap trace off')));
      }
      say(
        'what pods send is not in it: VPP captures what comes in by Ethernet alone; a pod has its own capture',
      );
      return readably(capturedAt(`${capture_directory}/${file}`));
    }),
  );
}

function readably(file: Buffer): Buffer {
  const packets = packetsOf(file);
  return packets === undefined ? file : pcapFile(link_types.ethernet, asEthernet(packets));
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
