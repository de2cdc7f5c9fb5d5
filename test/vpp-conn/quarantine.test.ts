import t from 'tap';
import type { Transaction } from '../../src/reconcile/transaction.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';

function transaction(owner: string, prefix = '10.0.0.0/24', essential?: true): Transaction {
  return {
    generation: 1,
    owner,
    operations: [
      {
        action: 'add',
        object: { kind: 'route', source: 'node', table_id: 0, prefix, paths: [{ via: 'drop' }] },
      },
    ],
    on_error: 'continue',
    ...(essential && { essential }),
  };
}

t.test('one death makes a suspect, a second one under the same operations convicts', async (t) => {
  const quarantine = new Quarantine();
  const pod = transaction('pod');
  t.notOk(quarantine.suspects(pod));
  quarantine.suspect(pod);
  t.ok(quarantine.suspects(pod));
  t.notOk(quarantine.holds(pod));
  quarantine.suspect({ ...pod, generation: 2 });
  t.ok(quarantine.holds({ ...pod, generation: 3 }));
  t.same(quarantine.list(), ['pod']);
  t.notOk(quarantine.holds(transaction('other')));
});

t.test('deaths under different operations of one owner do not add up', async (t) => {
  const quarantine = new Quarantine();
  for (const prefix of ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'])
    quarantine.suspect(transaction('pod', prefix));
  t.same(quarantine.list(), []);
  quarantine.suspect(transaction('pod', '10.3.0.0/16'));
  t.same(quarantine.list(), ['pod']);
});

t.test('a suspect that VPP survived is acquitted, a convict only by asking for something else', async (t) => {
  const quarantine = new Quarantine();
  const pod = transaction('pod');
  quarantine.suspect(pod);
  quarantine.acquit(pod);
  t.notOk(quarantine.suspects(pod));
  quarantine.suspect(pod);
  quarantine.suspect(pod);
  quarantine.acquit(pod);
  t.ok(quarantine.holds(pod));
  t.notOk(quarantine.holds(transaction('pod', '10.9.0.0/16')));
  t.notOk(quarantine.holds(pod), 'who has asked for something else begins anew');
});

t.test('what the node cannot be without is never suspected', async (t) => {
  const quarantine = new Quarantine();
  const node = transaction('node', '10.0.0.0/24', true);
  for (let deaths = 0; deaths < 5; deaths++) quarantine.suspect(node);
  t.notOk(quarantine.suspects(node));
  t.notOk(quarantine.holds(node));
});

t.test('the number of suspects is bounded, and those known still count', async (t) => {
  const quarantine = new Quarantine();
  const owners = Array.from({ length: 5000 }, (_, i) => transaction(`pod ${i}`));
  for (const each of owners) quarantine.suspect(each);
  t.equal(owners.filter((each) => quarantine.suspects(each)).length, 4096);
  quarantine.suspect(owners[0]!);
  t.same(quarantine.list(), ['pod 0']);
});
