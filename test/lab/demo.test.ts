/** The demo that runs on any machine: what it promises a visitor has to hold wherever `npm test` runs. */
import t from 'tap';
import { memoryStage } from '../../lab/demo/memory-stage.js';
import { Story } from '../../lab/demo/story.js';
import { columns_max, Teller } from '../../lab/demo/teller.js';

t.test('a node over a network and a VPP in memory lives through the whole story', async (t) => {
  let text = '';
  const teller = new Teller({ write: (piece) => (text += piece) });
  const stage = await memoryStage('a test needs no more');
  t.teardown(() => stage.close());
  const story = new Story(stage, teller);
  await story.begin();
  story.invite();
  await story.faults();
  await story.stop();
  await story.twoNodes();

  t.same(teller.broken, []);
  t.ok(teller.proofs > 0);
  t.match(text, /VPP 1 died: SIGKILL[\s\S]*VPP 2 started/);
  t.same(
    text.split('\n').filter((line) => line.length > columns_max),
    [],
    'no line is wider than a terminal',
  );
  t.notMatch(text, '\u001b', 'no colours where there is no terminal');
});

t.test('a proof that does not hold is told and remembered', async (t) => {
  let text = '';
  const teller = new Teller({ write: (piece) => (text += piece) });
  teller.prove('one is one', true);
  teller.prove('one is two', false);
  t.same(teller.broken, ['one is two']);
  t.match(text, 'NOT SO: one is two');
});
