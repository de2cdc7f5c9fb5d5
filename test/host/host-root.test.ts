import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { hostNamespacePath, isFirstNetwork } from '../../src/host/host-namespace.js';
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

t.test(
  'the first network namespace is that of the init of the machine, not of one in a container',
  async (t) => {
    const namespaces = (pid: string, net_of_init: string) => {
      const proc = t.testdir({ 1: { ns: {} }, self: { ns: {} } });
      symlinkSync(pid, join(proc, 'self/ns/pid'));
      symlinkSync(net_of_init, join(proc, '1/ns/net'));
      symlinkSync('net:[4026531833]', join(proc, 'self/ns/net'));
      return { proc };
    };
    const machine = namespaces('pid:[4026531836]', 'net:[4026531833]');
    t.same([isFirstNetwork(machine), hostNamespacePath(machine)], [true, 'pid:1']);
    const nested = namespaces('pid:[4026532190]', 'net:[4026531833]');
    t.same([isFirstNetwork(nested), hostNamespacePath(nested)], [false, 'pid:1']);
    const other = namespaces('pid:[4026531836]', 'net:[4026531999]');
    t.same([isFirstNetwork(other), hostNamespacePath(other)], [false, `/proc/${process.pid}/ns/net`]);
    t.equal(isFirstNetwork({ proc: join(t.testdir(), 'nothing') }), false);
  },
);
