import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { pruneCoreFiles, setCorePattern } from '../../src/host/core-files.js';
import type { UndoStep } from '../../src/host/undo/undo-step.js';

const directory = mkdtempSync(join(tmpdir(), 'cores-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

t.test('the two newest core files of the pattern stay, and nothing else is touched', async (t) => {
  const names = ['vppcore.vpp.1', 'vppcore.vpp.2', 'vppcore.vpp.3', 'vppcore.vpp.4', 'notes'];
  for (const [age, name] of names.entries()) {
    writeFileSync(join(directory, name), '');
    utimesSync(join(directory, name), 1000 + age, 1000 + age);
  }
  t.same(pruneCoreFiles(join(directory, 'vppcore.%e.%p')), ['vppcore.vpp.2', 'vppcore.vpp.1']);
  t.same(readdirSync(directory).sort(), ['notes', 'vppcore.vpp.3', 'vppcore.vpp.4']);
  t.same(pruneCoreFiles('/nonexistent/vppcore.%p'), []);
  t.same(pruneCoreFiles('%e.%p'), [], 'a pattern without a name of its own never matches all files');
});

t.test('the pattern is set once its undo is recorded, and recorded once', async (t) => {
  const path = join(directory, 'core_pattern');
  writeFileSync(path, 'core\n');
  const steps: UndoStep[] = [];
  const journal = { pending: () => steps, record: (more: readonly UndoStep[]) => void steps.push(...more) };
  setCorePattern('/var/lib/vpp/vppcore.%e.%p', journal, path);
  t.equal(readFileSync(path, 'utf8').trim(), '/var/lib/vpp/vppcore.%e.%p');
  setCorePattern('/elsewhere/core.%p', journal, path);
  t.same(steps, [{ kind: 'write_kernel_file', path, value: 'core' }]);

  const full = {
    pending: () => [],
    record: () => {
      throw new Error('disk full');
    },
  };
  writeFileSync(path, 'core\n');
  t.throws(() => setCorePattern('/x/core.%p', full, path), { message: 'disk full' });
  t.equal(readFileSync(path, 'utf8').trim(), 'core');
});
