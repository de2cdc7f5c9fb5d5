import t from 'tap';
import { durationText } from '../../src/debug/duration.js';
import { countNodes, filterTree, findNode, limitDepth } from '../../src/debug/tree-filter.js';
import { treeText } from '../../src/debug/tree-text.js';
import { NOW_MS, sampleNode, sampleTree } from './sample.js';

t.test(
  'the tree is drawn one actor a line, with states, gauges and what is out of the ordinary',
  async (t) => {
    t.equal(
      treeText(sampleTree, { now_ms: NOW_MS }),
      `\
node                  running  one_for_all  up 3d2h   restarts 0/3
├─ vpp                running  one_for_one  up 3d2h   restarts 1/3
│  ├─ vpp-process     running               up 3d2h                 pid 412       lives 2      last_exit SIGSEGV
│  └─ vpp-connection  running               up 3d2h                 generation 2  in_flight 3  version 26.10      quarantined -
├─ policies           backoff               for 1.8s                starts again at 2030-01-01T00:00:02.000Z  restarted ×4  lastError read ECONNRESET ×4 1.8s ago
└─ cni                running  one_for_one  up 3d2h   restarts 0/3
   └─ pod/a           running               up 3d2h                 mbox 3/64 (hw 5, oldest 3.2s)  dropped 2  handling Add 4.1s  asks node/vpp/vpp-connection Transact 4s
`,
    );
  },
);

t.test('a terminal without Unicode gets ASCII, a narrow one gets cut lines', async (t) => {
  const text = treeText(sampleTree, { now_ms: NOW_MS, unicode: false, columns: 60 });
  t.equal(
    text,
    `\
node                  running  one_for_all  up 3d2h   resta~
|- vpp                running  one_for_one  up 3d2h   resta~
|  |- vpp-process     running               up 3d2h        ~
|  \`- vpp-connection  running               up 3d2h        ~
|- policies           backoff               for 1.8s       ~
\`- cni                running  one_for_one  up 3d2h   resta~
   \`- pod/a           running               up 3d2h        ~
`,
  );
});

t.test('text from an actor cannot steer the terminal', async (t) => {
  const nasty = sampleNode('node', { gauges: { exit: 'a\u001b]0;x\u0007\nb\u009bc' }, detail: 'x\ry' });
  t.notMatch(treeText(nasty, { now_ms: NOW_MS }).trimEnd(), /\p{Cc}/u);
});

t.test('a long gauge does not push the columns of the others apart', async (t) => {
  const tree = sampleNode('n', {
    gauges: { reason: 'x'.repeat(100), a: 1 },
    children: [sampleNode('n/c', { gauges: { b: 1, a: 22 } })],
  });
  const [, child] = treeText(tree, { now_ms: NOW_MS }).split('\n');
  t.match(child, /b 1 {2}a 22$/);
});

t.test('durations are for people', async (t) => {
  const table: [number, string][] = [
    [-5, '0s'],
    [0, '0s'],
    [1.84, '1.8ms'],
    [850.4, '850ms'],
    [2400, '2.4s'],
    [9990, '9.9s'],
    [59_999, '59s'],
    [312_000, '5m12s'],
    [3_600_000, '1h'],
    [266_400_000, '3d2h'],
  ];
  for (const [ms, text] of table) t.equal(durationText(ms), text);
});

t.test('a filter keeps what matches and those above it, and counts the rest', async (t) => {
  t.equal(countNodes(sampleTree), 7);
  const backoff = filterTree(sampleTree, { states: ['backoff'] });
  t.strictSame(
    backoff.children.map(({ path }) => path),
    ['node/policies'],
  );
  t.equal(backoff.hidden, 5);

  const busy = filterTree(sampleTree, { min_mailbox: 1 });
  t.strictSame(
    busy.children.map(({ path, children }) => [path, children.map((child) => child.path)]),
    [['node/cni', ['node/cni/pod/a']]],
  );
  t.equal(countNodes(busy), 7, 'nobody is lost from the count');

  t.strictSame(filterTree(sampleTree, { states: ['failed'] }).children, []);
  t.equal(filterTree(sampleTree, { depth: 1 }).children[0]!.hidden, 2);
  t.equal(countNodes(limitDepth(limitDepth(sampleTree, 1), 0)), 7);
  t.equal(filterTree(sampleTree, {}), sampleTree);
});

t.test('an actor is found by its path, with or without the root, whatever its name holds', async (t) => {
  t.equal(findNode(sampleTree, 'node/cni/pod/a')?.name, 'pod/a');
  t.equal(findNode(sampleTree, 'cni/pod/a')?.name, 'pod/a');
  t.equal(findNode(sampleTree, 'node')?.path, 'node');
  t.equal(findNode(sampleTree, 'cni/pod'), undefined);
  const twins = sampleNode('n', {
    children: [sampleNode('n/pod'), sampleNode('n/pod/x', { name: 'pod/x' })],
  });
  t.equal(findNode(twins, 'pod/x')?.name, 'pod/x');
});
