/** `export`: a bundle of what there is to see of a node, for somebody who cannot look at it. */
import { gzipSync } from 'node:zlib';
import { systemClock } from '../clock.js';
import { pskOf } from '../config/psk.js';
import { fetchDebug } from '../debug/client.js';
import { withoutSecrets } from '../debug/public-json.js';
import { writeOutput } from './capture.js';
import { exit_codes, type Invocation, type Streams, text } from './invocation.js';
import { askVpp, socketsOf } from './node-client.js';
import { UsageError } from './usage.js';
import { VppCliError } from './vpp-cli.js';

interface Part {
  /** In the bundle. */
  readonly file: string;
  /** Of the debug endpoint. */
  readonly path?: string;
  readonly accept?: string;
  /** Of VPP's command line. None that shows keys. */
  readonly command?: string;
}

const debugPart = (file: string, path: string, accept?: string): Part => ({
  file,
  path,
  ...(accept !== undefined && { accept }),
});

/**
 * None that grows without a limit: VPP does nothing else while it writes, and is taken for dead after two seconds. Translations and what policies consist of are
 * in `services.json` and `policies.json`.
 */
const vpp_commands: readonly (readonly [file: string, command: string])[] = [
  ['version', 'show version verbose'],
  ['interface', 'show interface'],
  ['interface-address', 'show interface address'],
  ['hardware', 'show hardware-interfaces'],
  ['tun', 'show tun'],
  ['runtime', 'show runtime max'],
  ['errors', 'show errors'],
  ['buffers', 'show buffers'],
  ['threads', 'show threads'],
  ['memory', 'show memory main-heap'],
  ['log', 'show logging'],
  ['fib', 'show ip fib summary'],
  ['fib6', 'show ip6 fib summary'],
  ['neighbors', 'show ip neighbors'],
  ['cnat-session', 'show cnat session verbose 1 max 500'],
  ['cnat-snat', 'show cnat snat-policy'],
  ['npol-interfaces', 'show npol interfaces'],
  ['ipip', 'show ipip tunnel'],
  ['vxlan', 'show vxlan tunnel'],
];

export const bundle_parts: readonly Part[] = [
  debugPart('status.json', '/status'),
  debugPart('tree.json', '/debug/tree'),
  debugPart('tree.txt', '/debug/tree', 'text/plain'),
  debugPart('sync.json', '/debug/sync'),
  debugPart('services.json', '/debug/services'),
  debugPart('policies.json', '/debug/policies'),
  debugPart('vpp-api.json', '/debug/vpp/api'),
  debugPart('events.txt', '/debug/events', 'text/plain'),
  debugPart('config.json', '/debug/config'),
  debugPart('runtime.json', '/debug/runtime'),
  debugPart('log.txt', '/debug/log?last=2000'),
  ...vpp_commands.map(([name, command]): Part => ({ file: `vpp/${name}.txt`, command })),
];

const part_bytes_max = 4 * 1024 * 1024;
const bundle_bytes_max = 64 * 1024 * 1024;
/** A VPP that has been silent for so many commands one after the other is not asked more. */
const silences_max = 3;

function cut(said: string): Buffer {
  const bytes = Buffer.from(said);
  if (bytes.length <= part_bytes_max) return bytes;
  return Buffer.concat([bytes.subarray(0, part_bytes_max), Buffer.from(`\n[cut: ${bytes.length} bytes]\n`)]);
}

export async function exportBundle(
  { env, options, operands }: Invocation,
  { stdout, stderr }: Streams,
): Promise<number> {
  if (operands.length > 0) throw new UsageError('export takes no operands');
  const output = text(options.output) ?? (stdout.isTTY ? undefined : '-');
  if (output === undefined)
    throw new UsageError('--output FILE is needed: a bundle is nothing for a terminal');
  const at = socketsOf(env);
  const debug = text(options.socket) ?? at.debug;
  const cli = text(options['cli-socket']) ?? at.cli;
  const secrets = new Set(
    [pskOf(env.CALICOVPP_IPSEC_IKEV2_PSK ?? '').reveal()].filter((secret) => secret !== ''),
  );
  const { tarOf } = await import('./tar.js');

  const files = new Map<string, Buffer>();
  let bytes = 0;
  let silences = 0;
  let missing = 0;
  for (const [n, { file, path, accept, command }] of bundle_parts.entries()) {
    stderr.write(`export: ${n + 1} of ${bundle_parts.length}: ${file}\n`);
    let said: string;
    try {
      if (command !== undefined && silences >= silences_max) throw new Error('left out: VPP does not answer');
      said =
        command === undefined
          ? (await fetchDebug(debug, path!, accept)).body
          : `# ${command}\n${await askVpp(cli, command)}`;
      silences = 0;
    } catch (error) {
      if (error instanceof VppCliError) silences += 1;
      missing += 1;
      said = `not there: ${(error as Error).message}\n`;
    }
    const content = cut(withoutSecrets(said, secrets));
    bytes += content.length;
    files.set(
      `calico-vpp-node/${file}`,
      bytes <= bundle_bytes_max ? content : Buffer.from('left out: the bundle is full\n'),
    );
  }
  if (missing === bundle_parts.length)
    stderr.write('export: nobody answers: nothing is in the bundle but that\n');
  const bundle = gzipSync(tarOf(files, Math.floor(systemClock.wall_ms() / 1000)));
  if (output === '-') stdout.write(bundle);
  else {
    writeOutput(output, bundle);
    stderr.write(
      `export: ${output} has ${bundle.length} bytes${missing > 0 ? `; ${missing} parts are missing, and say why` : ''}\n`,
    );
  }
  return missing === bundle_parts.length ? exit_codes.unreachable : exit_codes.done;
}
