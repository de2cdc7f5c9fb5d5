import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The rooms of the table in ARCHITECTURE.md, from the top: each row is a list of files and folders below src. */
function rooms(): readonly (readonly string[])[] {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
  const [, table = ''] = /## Where things are\n(.*?)\n## /s.exec(text) ?? [];
  return [...table.matchAll(/^\| (`.*?`) \|/gm)].map(([, cell = '']) =>
    [...cell.matchAll(/`(?:src\/)?([^`]+)`/g)].map(([, name = '']) => name),
  );
}

t.test('every room imports what stands above it alone', async (t) => {
  const order = rooms();
  const rank = (file: string): number => {
    const [first = ''] = relative('src', file).split('/');
    return order.findIndex((names) => names.includes(first));
  };
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join('src', name));
  t.ok(files.length > 100);
  const wrong: string[] = [];
  for (const file of files) {
    if (rank(file) < 0) wrong.push(`${file} is in no room`);
    for (const [, path = ''] of readFileSync(join(root, file), 'utf8').matchAll(/from '(\.[^']+)\.js'/g)) {
      const imported = relative(root, resolve(root, dirname(file), `${path}.ts`));
      if (imported.startsWith('src/') && rank(imported) > rank(file))
        wrong.push(`${file} imports ${imported}`);
    }
  }
  t.strictSame(wrong, []);
});
