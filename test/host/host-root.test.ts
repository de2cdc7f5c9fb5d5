import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findHostRoot } from '../../src/host/host-root.js';

t.test("the host's files are where they were said to be, or here when this is the host", async (t) => {
  const directory = t.testdir({ host: { etc: {} }, empty: {}, proc: { 1: {}, self: { ns: {} } } });
  const at = (name: string) => join(directory, name);
  const roots = { proc: at('proc') };
  const process = (pid: string, root: string) => symlinkSync(root, at(`proc/${pid}/root`));
  symlinkSync('pid:[4026531836]', at('proc/self/ns/pid'));
  process('self', '/');
  process('1', at('host'));

  t.equal(findHostRoot(at('host'), true, roots), at('host'));
  t.equal(findHostRoot(`${at('host')}/`, false, roots), at('host'));
  t.equal(findHostRoot('/', false, roots), '', 'this is the host');
  t.equal(
    findHostRoot(at('empty'), true, roots),
    undefined,
    'a forgotten mount in a container that sees all processes',
  );

  const here = { proc: at('here') };
  mkdirSync(at('here/self/ns'), { recursive: true });
  mkdirSync(at('here/1'));
  for (const pid of ['self', '1']) symlinkSync('/', at(`here/${pid}/root`));
  symlinkSync('pid:[4026531836]', at('here/self/ns/pid'));
  t.equal(findHostRoot(at('none'), true, here), '', 'on the host itself');
  t.equal(findHostRoot(at('none'), false, here), undefined, 'but not where another place was asked for');

  const other = { proc: at('other') };
  mkdirSync(at('other/self/ns'), { recursive: true });
  mkdirSync(at('other/1'));
  for (const pid of ['self', '1']) symlinkSync('/', at(`other/${pid}/root`));
  symlinkSync('pid:[4026532000]', at('other/self/ns/pid'));
  t.equal(findHostRoot(at('none'), true, other), undefined, 'the first process of a container is its own');
  t.equal(findHostRoot(at('none'), true, { proc: at('nothing') }), undefined);
});
