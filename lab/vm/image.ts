/**
 * The machine's disk and what starts it: Debian with its own kernel, built once from Debian's packages and kept in a cache
 * until what it is made of changes.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { cached, tool } from './cache.js';
import { type ArchiveEntry, cpioArchive } from './cpio.js';
import { files, first_program, init_modules, links, packages, removed, suite } from './recipe.js';

export interface Image {
  /** Raw ext4, read only: each machine has a layer of its own above it. */
  readonly disk: string;
  readonly kernel: string;
  readonly initrd: string;
  /** The same files as on the disk. */
  readonly root: string;
}

/** Programs that images are made with, and Debian's package of each. */
const image_tools: Readonly<Record<string, string>> = {
  mmdebstrap: 'mmdebstrap',
  mke2fs: 'e2fsprogs',
  strip: 'binutils',
};

/** Why no image can be made: what to install. Undefined: it can. `more`: further programs, and the package of each. */
export function whyNoImage(more: Readonly<Record<string, string>>): string | undefined {
  const directories = (process.env.PATH ?? '').split(':');
  for (const [name, package_name] of Object.entries({ ...image_tools, ...more })) {
    if (!directories.some((directory) => existsSync(join(directory, name))))
      return `needs ${name}: apt-get install ${package_name}`;
  }
  return process.getuid?.() === 0
    ? undefined
    : 'needs root: mmdebstrap makes a file system with owners and devices';
}

const disk_bytes = 2 ** 31;

/** Takes minutes the first time, and a moment from then on. Throws with the last lines of the tool that failed. */
export async function buildImage(say: (text: string) => void): Promise<Image> {
  const system = await cached('system', [suite, ...packages], (directory) => {
    say(`Debian ${suite} with ${packages.length} packages is put together, once`);
    tool('mmdebstrap', '--variant=essential', `--include=${packages.join(',')}`, ...leaner, suite, directory);
  });
  const recipe = JSON.stringify([files, links, removed, init_modules, first_program]);
  const directory = await cached('image', [system, recipe], (directory) => {
    say('the image is made of it');
    const root = join(directory, 'root');
    mkdirSync(directory);
    tool('cp', '-a', '--reflink=auto', system, root);
    furnish(root);
    const version = readdirSync(join(root, 'lib/modules'))[0]!;
    copyFileSync(join(root, 'boot', `vmlinuz-${version}`), join(directory, 'kernel'));
    writeFileSync(join(directory, 'initrd'), cpioArchive(initrd(root, version)));
    rmSync(join(root, 'boot'), { recursive: true });
    makeDisk(root, join(directory, 'disk'), disk_bytes, 'root');
  });
  return {
    disk: join(directory, 'disk'),
    kernel: join(directory, 'kernel'),
    initrd: join(directory, 'initrd'),
    root: join(directory, 'root'),
  };
}

const leaner = ['doc', 'man', 'locale', 'info'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);

/** An ext4 file system with what is in a directory. */
export function makeDisk(directory: string, path: string, bytes: number, label: string): void {
  tool('mke2fs', '-q', '-t', 'ext4', '-L', label, '-d', directory, path, `${bytes / 1024}k`);
}

function furnish(root: string): void {
  for (const path of removed) rmSync(join(root, path), { recursive: true, force: true });
  for (const [path, content] of Object.entries(files)) {
    const there = join(root, path);
    mkdirSync(dirname(there), { recursive: true });
    rmSync(there, { force: true });
    writeFileSync(there, content);
    if (content.startsWith('#!')) chmodSync(there, 0o755);
  }
  for (const [path, target] of Object.entries(links)) {
    const there = join(root, path);
    mkdirSync(dirname(there), { recursive: true });
    rmSync(there, { force: true });
    symlinkSync(target, there);
  }
}

/** What finds the disk: busybox, and the modules of the kernel in the order in which they are loaded. */
function initrd(root: string, version: string): ArchiveEntry[] {
  const modules = join(root, 'lib/modules', version);
  const needs = new Map(
    readFileSync(join(modules, 'modules.dep'), 'utf8')
      .split('\n')
      .map((line) => line.split(': ', 2))
      .map(([path = '', rest = '']) => [path.replace(/:$/, ''), rest.split(' ').filter(Boolean)]),
  );
  const builtin = readFileSync(join(modules, 'modules.builtin'), 'utf8');
  const order: string[] = [];
  for (const name of init_modules) {
    const path = [...needs.keys()].find((path) => path.endsWith(`/${name}.ko`));
    if (path === undefined && !builtin.includes(`/${name}.ko`)) throw new Error(`no module ${name}`);
    // Those that it needs are listed with the nearest first.
    if (path !== undefined) order.push(...[...needs.get(path)!].reverse(), path);
  }
  const unique = [...new Set(order)];
  const name = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
  return [
    ...['bin', 'dev', 'root', 'modules'].map((path) => ({ path, mode: 0o040755, content: '' })),
    { path: 'bin/busybox', mode: 0o100755, content: readFileSync(join(root, 'bin/busybox')) },
    { path: 'init', mode: 0o100755, content: first_program },
    { path: 'order', mode: 0o100644, content: unique.map((path) => `${name(path)}\n`).join('') },
    ...unique.map((path) => ({
      path: `modules/${name(path)}`,
      mode: 0o100644,
      content: readFileSync(join(modules, path)),
    })),
  ];
}
