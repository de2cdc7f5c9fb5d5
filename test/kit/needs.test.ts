import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Two tests, of which TAP_GREP asks for the second; what they are given is a text of JavaScript. */
function ranBehind(options: string): boolean {
  const program = `
    import t from 'tap';
    import { needs } from ${JSON.stringify(fileURLToPath(new URL('needs.js', import.meta.url)))};
    const missing = needs(undefined);
    const shared = {};
    t.test('first', ${options}, async (t) => t.pass());
    t.test('second', ${options}, async (t) => t.pass('it ran'));`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    env: { ...process.env, TAP_GREP: 'second', TAP: '1' },
    encoding: 'utf8',
  });
  return stdout.includes('ok 1 - it ran');
}

t.test('a test that is passed over takes none along that needs the same', async (t) => {
  t.equal(ranBehind('missing()'), true);
  t.equal(ranBehind('shared'), false, 'which is why no two tests share their options');
});

t.test('no two tests share their options', async (t) => {
  const folders = [
    'test',
    ...readdirSync(join(root, 'packages')).map((name) => join('packages', name, 'test')),
  ];
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => join(folder, name)),
  );
  t.ok(files.length > 100);
  const name = /(?:'[^'\n]*'|`[^`]*`|"[^"\n]*"|[\w.$]+)/.source;
  const shared = new RegExp(String.raw`\.test\(\s*${name},\s*(\w+),`, 'g');
  const wrong = files.flatMap((file) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(shared)].map(([, options]) => `${file}: ${options}`),
  );
  t.strictSame(wrong, [], 'ask for options of its own: needs()');
});
