import t from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import { conditionBoard } from '../../src/debug/conditions.js';

t.test('an expected condition does not hold until somebody says so', async (t) => {
  const clock = new TurnedClock({ wall_ms: 1000 });
  t.strictSame(conditionBoard(clock, ['vpp']).list(), [
    { name: 'vpp', ok: false, since_ms: 1000, reason: 'nothing reported yet' },
  ]);
});

t.test(
  'since_ms is when a condition began or ceased to hold, whatever reasons came in between',
  async (t) => {
    const clock = new TurnedClock({ wall_ms: 1000 });
    let changes = 0;
    const board = conditionBoard(clock, ['vpp', 'cni'], () => {
      changes += 1;
    });
    await clock.advance(10);
    board.set('vpp', false, 'starting');
    t.equal(changes, 0, 'another reason is not a change');
    await clock.advance(10);
    board.set('vpp', true, '');
    await clock.advance(10);
    board.set('vpp', true, 'adopted');
    board.set('bgp', true, '');
    t.strictSame(board.list(), [
      { name: 'vpp', ok: true, since_ms: 1020, reason: 'adopted' },
      { name: 'cni', ok: false, since_ms: 1000, reason: 'nothing reported yet' },
      { name: 'bgp', ok: true, since_ms: 1030, reason: '' },
    ]);
    t.equal(changes, 2);
    board.clear('cni');
    board.clear('cni');
    t.strictSame(
      board.list().map(({ name }) => name),
      ['vpp', 'bgp'],
    );
    t.equal(changes, 3);
  },
);
