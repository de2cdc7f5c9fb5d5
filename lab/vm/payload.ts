/** The machine's second disk: Node.js with the packages of this program, and VPP with the libraries that it needs. */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cached, tool } from './cache.js';
import { makeDisk } from './image.js';
import { payload_directory } from './recipe.js';

/** Where things are in the machine. */
export const inside = {
  node: `${payload_directory}/bin/node`,
  agent: `${payload_directory}/agent/agent.js`,
  vpp: `${payload_directory}/vpp/bin/vpp`,
  vpp_libraries: `${payload_directory}/vpp/libraries`,
  packages: `${payload_directory}/node_modules`,
  /** Where VFIO_MODULE names one. */
  vfio_module: `${payload_directory}/modules/vfio.ko`,
  /** Not on that disk: it comes over the channel. */
  program: '/opt/calico-vpp-node',
} as const;

const checkout = fileURLToPath(new URL('../../..', import.meta.url));
const agent = fileURLToPath(new URL('./agent.js', import.meta.url));
const disk_bytes = 2 ** 30;

/** What it is made of, for who makes more of it. `vpp`: path of its executable. */
export function payloadParts(vpp: string): string[] {
  const lock = readFileSync(join(checkout, 'package-lock.json'), 'utf8');
  const { paths } = vppFiles(realpathSync(vpp));
  const states = [realpathSync(process.execPath), ...paths, ...vfioModule()].map((file) => {
    const { size, mtimeMs } = statSync(file);
    return `${file} ${size} ${mtimeMs}`;
  });
  return [lock, ...ownPackages(), readFileSync(agent, 'utf8'), ...states];
}

export interface Payload {
  /** An ext4 file system. */
  readonly disk: string;
  /** The same files. */
  readonly tree: string;
}

/** `vpp`: path of its executable. */
export async function makePayload(vpp: string): Promise<Payload> {
  const directory = await cached('payload', payloadParts(vpp), (directory) => {
    const tree = join(directory, 'tree');
    const place = (path: string): string => {
      const there = join(tree, path.slice(payload_directory.length));
      mkdirSync(dirname(there), { recursive: true });
      return there;
    };
    cpSync(realpathSync(process.execPath), place(inside.node));
    cpSync(agent, place(inside.agent));
    writeFileSync(place(join(dirname(inside.agent), 'package.json')), '{"type":"module"}');
    for (const name of dependencies())
      cpSync(join(checkout, 'node_modules', name), place(join(inside.packages, name)), { recursive: true });
    for (const path of ownPackages())
      symlinkSync(join(inside.program, path), place(join(inside.packages, basename(path))));
    for (const module of vfioModule()) cpSync(module, place(inside.vfio_module));
    placeVpp(realpathSync(vpp), place);
    makeDisk(tree, join(directory, 'disk'), disk_bytes, 'payload');
  });
  return { disk: join(directory, 'disk'), tree: join(directory, 'tree') };
}

/** For VPP's taps where the kernel has no vhost-net, see real-vpp.ts. */
export const vhost_shim = 'out/vhost-shim.so';

/** A compressed tar of the program as it was built, without the packages that it needs. */
export function programArchive(): Buffer {
  const own = ownPackages().flatMap((path) => [`${path}/package.json`, `${path}/dist/src`]);
  const parts = ['package.json', 'out/src', 'out/lab', ...own];
  if (existsSync(join(checkout, vhost_shim))) parts.push(vhost_shim);
  const { error, status, stdout } = spawnSync('tar', ['-C', checkout, '-cz', ...parts], {
    maxBuffer: 2 ** 26,
  });
  if (error || status !== 0) throw new Error(`tar: ${error?.message ?? `status ${status}`}`);
  return stdout;
}

interface LockedPackage {
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  /** One of this repository, which is sent with the program. */
  readonly link?: boolean;
  readonly resolved?: string;
}

function locked(): [string, LockedPackage][] {
  const { packages } = JSON.parse(readFileSync(join(checkout, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  return Object.entries(packages);
}

/** Where the packages of this repository are that the program needs when it runs. */
export function ownPackages(): string[] {
  return locked().flatMap(([, { link, resolved }]) => (link && resolved !== undefined ? [resolved] : []));
}

/** Names of the packages that the program needs when it runs: as the lock file has it, development left out. */
function dependencies(): string[] {
  return locked()
    .filter(([, { dev, devOptional, link }]) => !dev && !devOptional && !link)
    .filter(([path]) => path.startsWith('node_modules/') && existsSync(join(checkout, path)))
    .map(([path]) => path.slice('node_modules/'.length));
}

/** VPP looks for what it loads beside the directory that its executable is in, and so it will in the machine. */
function vppFiles(binary: string): {
  readonly from: string;
  /** Below it. */
  readonly lib: string;
  readonly paths: readonly string[];
} {
  const from = dirname(dirname(binary));
  const lib = ['lib/x86_64-linux-gnu', 'lib', 'lib64'].find((path) =>
    existsSync(join(from, path, 'vpp_plugins')),
  );
  if (lib === undefined) throw new Error(`there are no plugins beside ${binary}`);
  const loaded = ['vpp_plugins', 'vpp_drivers', 'vpp_crypto_engines'].flatMap((folder) =>
    existsSync(join(from, lib, folder))
      ? readdirSync(join(from, lib, folder)).map((name) => join(from, lib, folder, name))
      : [],
  );
  return { from, lib, paths: [binary, join(from, 'bin/vppctl'), ...loaded, ...dpdkPlugin()] };
}

/** A `dpdk_plugin.so` that was built for this VPP and lies elsewhere, linked to those of DPDK's drivers that it is to have. */
function dpdkPlugin(): string[] {
  const { VPP_DPDK_PLUGIN: plugin = '' } = process.env;
  return plugin === '' ? [] : [plugin];
}

/** A `vfio.ko` for the machine's kernel that has vfio's unsafe mode, which Debian's own has not. */
function vfioModule(): string[] {
  const { VFIO_MODULE: module = '' } = process.env;
  return module === '' ? [] : [module];
}

function placeVpp(binary: string, place: (path: string) => string): void {
  const { from, lib, paths } = vppFiles(binary);
  const placeOf = (path: string): string => {
    const within = relative(from, path);
    return within.startsWith('..') ? join(lib, 'vpp_plugins', basename(path)) : within;
  };
  const parts = paths.map((path): [string, string] => [path, join(payload_directory, 'vpp', placeOf(path))]);
  const libraries = new Set(paths.flatMap(librariesOf));
  for (const path of libraries) parts.push([realpathSync(path), join(inside.vpp_libraries, basename(path))]);
  for (const [path, there] of parts) tool('strip', '--strip-debug', '-o', place(there), path);
}

/** Paths of the shared libraries that a program loads, but for the C library, which must be the machine's. */
function librariesOf(path: string): string[] {
  const lines = tool('ldd', path).split('\n');
  return lines.flatMap((line) => {
    const [, name, library] = /^\s*(\S+) => (\/\S+)/.exec(line) ?? [];
    return library === undefined || /^lib(c|m|dl|rt|pthread|resolv)\.so/.test(name!) ? [] : [library];
  });
}
