import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { configurationTables, manual_path, withTables } from '../scripts/configuration-manual.js';
import { type Handlers, runCli, type Streams } from '../src/cli/cli.js';
import { respond, routes, type Source } from '../src/debug/routes.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

/** All manuals: what is no part of a package of others, and not put out. */
const manuals = execFileSync('git', ['-C', root, 'ls-files', '-co', '--exclude-standard', '*.md'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(root, file)));

const fence = /^ *```.*\n([\s\S]*?)^ *```$/gm;

/** As GitHub makes them of headings. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of text.replace(fence, '').matchAll(/^#+ (.*)$/gm)) {
    const words = heading.replace(/\[(.*?)\]\(.*?\)/g, '$1').toLowerCase();
    const anchor = words.replace(/[^\p{L}\p{N}_ -]/gu, '').replaceAll(' ', '-');
    let name = anchor;
    for (let again = 1; anchors.has(name); again++) name = `${anchor}-${again}`;
    anchors.add(name);
  }
  return anchors;
}

t.test('every link of the manuals leads somewhere', async (t) => {
  t.ok(manuals.length > 10);
  const dead: string[] = [];
  let seen = 0;
  for (const file of manuals)
    for (const [, target = ''] of read(file)
      .replace(fence, '')
      .matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      seen += 1;
      const [path = '', anchor] = target.split('#');
      const there = path === '' ? join(root, file) : resolve(root, dirname(file), path);
      if (!existsSync(there)) dead.push(`${file}: ${target}`);
      else if (anchor && statSync(there).isFile() && !anchorsOf(read(relative(root, there))).has(anchor))
        dead.push(`${file}: ${target}: no such heading`);
    }
  t.ok(seen > 60);
  t.strictSame(dead, []);
});

/** Its commands are run by test/cli/looking.test.ts, with a node that answers. */
const run_elsewhere = 'docs/commands.md';

/** Commands of the manuals, a line each, without the prompt and what it was told to be about. */
function commands(): { readonly file: string; readonly command: string }[] {
  return manuals
    .filter((file) => file !== run_elsewhere)
    .flatMap((file) =>
      [...read(file).matchAll(fence)].flatMap(([, block = '']) =>
        block
          .replaceAll('\\\n', ' ')
          .split('\n')
          .map((line) =>
            line
              .replace(/^\s*\$ /, '')
              .replace(/ {2,}#? ?.*$/, '')
              .replace(/\bOBJECT\b/, 'node')
              .trim(),
          )
          .flatMap((line) => line.split(/ && /))
          .map((command) => ({ file, command: command.replace(/^(?:[A-Z_]+=\S+ )+/, '') })),
      ),
    );
}

const answered: Handlers = {
  run: async () => 0,
  check: async () => 0,
  restore: async () => 0,
  demo: async () => 0,
};

t.test('every command of the manuals is one', async (t) => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const told: string[] = [];
  const streams = {
    stdout: {
      on: () => undefined,
      write: (_text: string, written?: () => void) => {
        written?.();
        return true;
      },
    },
    stderr: { write: (text: string) => told.push(text) },
  } as unknown as Streams;
  const seen = { npm: 0, own: 0, files: 0 };
  const wrong: string[] = [];
  for (const { file, command } of commands()) {
    const words = command.split(/\s+/);
    const [, script] = /^npm run (?:-s )?([\w:]+)/.exec(command) ?? [];
    if (script !== undefined) {
      seen.npm += 1;
      if (scripts[script] === undefined) wrong.push(`${file}: ${command}`);
    }
    const own = words.lastIndexOf('calico-vpp-node');
    const argv = words.slice(own + 1).filter((word) => !['…', '...'].includes(word));
    if (own >= 0 && (own === 0 || words[own - 1] === '--') && !/[|├└─]/.test(command)) {
      seen.own += 1;
      // Nobody is asked: a socket that is not there is told after the words have been understood.
      const env = { CALICOVPP_RUN_DIR: '/nowhere' };
      const code = await runCli(
        argv[0] === 'vppctl' ? ['vppctl', 'show', 'version'] : argv,
        env,
        answered,
        streams,
      );
      if (code === 2) wrong.push(`${file}: ${command}`);
    }
    for (const [, path = ''] of command.matchAll(/ (?:-k|-f) (deploy\/\S+)/g)) {
      seen.files += 1;
      if (!existsSync(join(root, path))) wrong.push(`${file}: ${command}`);
    }
  }
  t.strictSame(wrong, [], told.join(''));
  t.ok(seen.npm > 7 && seen.own > 8 && seen.files > 1, JSON.stringify(seen));
});

/** Paths of the endpoint in a text, alone or behind the host of a URL, without what they are asked; `src/debug` and `debug.sock` are none. */
const endpoint_path =
  /(?:http:\/\/[\w.:]+|(?<![\w.\])>}/-]))(\/(?:debug(?![\w.])(?:\/[\w<>-]+)*|(?:live|ready|startup)z))/g;

const endpointPaths = (text: string): string[] =>
  [...text.replaceAll("/*'", "/x'").matchAll(endpoint_path)].map(([, path = '']) => path);

t.test(
  'every path of the endpoint that is named is served, and each has its row in the manual',
  async (t) => {
    t.strictSame(
      endpointPaths(
        '`/debug/actor/<path>/state` http://node/debug/tree?x src/debug/worker.ts /run/debug.sock (/livez)',
      ),
      ['/debug/actor/<path>/state', '/debug/tree', '/livez'],
    );
    const sources = execFileSync('git', ['-C', root, 'ls-files', 'src', 'lab', 'deploy'], {
      encoding: 'utf8',
    })
      .split('\n')
      .filter((file) => /\.(ts|ya?ml|json)$|calico-vpp-init$/.test(file) && existsSync(join(root, file)));
    const wrong: string[] = [];
    let seen = 0;
    for (const file of [...manuals, ...sources])
      for (const path of endpointPaths(read(file))) {
        seen += 1;
        const { body } = await respond({ method: 'GET', url: path, accept: '' }, 'debug', {} as Source);
        if (body.includes('there is nothing at')) wrong.push(`${file}: ${path}`);
      }
    t.strictSame(wrong, []);
    t.ok(seen > 80, `${seen}`);
    const rows = read('docs/debugging.md')
      .split('\n')
      .map((line) => /^\| (`\/.*?) \|/.exec(line)?.[1] ?? '')
      .join(' ');
    const older = ['/liveness', '/readiness'];
    const untold = routes
      .map(({ path }) => path.replace(/\*$/, ''))
      .filter((path) => !older.includes(path) && !rows.includes(`\`${path}`));
    t.strictSame(untold, []);
  },
);

t.test('the tables of the configuration are what its schemas make', async (t) => {
  const tables = configurationTables();
  const there = readFileSync(manual_path, 'utf8');
  t.equal(withTables(there, tables), there, 'else: npm run generate:configuration');
  t.throws(() => withTables(there, { ...tables, more: '' }), /no place in the manual for more/);
  const { debug: _, ...fewer } = tables;
  t.throws(() => withTables(there, fewer), /there is no table debug/);
});
