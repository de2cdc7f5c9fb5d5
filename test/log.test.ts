import t from 'tap';
import { TurnedClock } from '../lab/turned-clock.js';
import { createLog, type LogFormat, type LogLevel, parseLogLevel, RateLimit } from '../src/log.js';

function setup(format: LogFormat, level: LogLevel = 'info') {
  const clock = new TurnedClock({ wall_ms: Date.UTC(2030, 0, 2, 3, 4, 5, 6) });
  const lines: string[] = [];
  return { clock, lines, log: createLog({ format, level, clock, write: (line) => lines.push(line) > 0 }) };
}

t.test('the words of CALICOVPP_LOG_LEVEL', async (t) => {
  const table: Record<string, LogLevel | undefined> = {
    panic: 'fatal',
    fatal: 'fatal',
    error: 'error',
    warn: 'warn',
    warning: 'warn',
    ' Info ': 'info',
    DEBUG: 'debug',
    trace: 'trace',
    verbose: undefined,
    toString: undefined,
  };
  for (const [word, level] of Object.entries(table)) t.equal(parseLogLevel(word), level, word);
});

t.test('json: one object a line with time, level, message, fields and the error', async (t) => {
  const { lines, log } = setup('json');
  log
    .child({ actor: 'root/cni', gen: 2 })
    .warn({ pod: 'a/b', err: new TypeError('odd') }, 'pod(add) refused');
  const line = JSON.parse(lines[0]!);
  t.match(line, {
    ts: '2030-01-02T03:04:05.006Z',
    level: 'warn',
    msg: 'pod(add) refused',
    actor: 'root/cni',
    gen: 2,
    pod: 'a/b',
    err: { type: 'TypeError', message: 'odd' },
  });
  t.equal(line.suppressed, undefined);
});

t.test('text: the fields and words that filters of the Go log look for', async (t) => {
  const { lines, log } = setup('text');
  const fields = { component: 'cni', pod: 'a b', n: 3, ids: [1], err: new Error('no "x"') };
  log.child({ gen: 1 }).warn(fields, 'pod(add) "quoted"');
  t.same(lines, [
    'time="2030-01-02T03:04:05.006Z" level=warning msg="pod(add) \\"quoted\\"" gen=1 component=cni pod="a b" n=3 ids="[1]" err="no \\"x\\""\n',
  ]);
});

t.test('pretty: a coloured level and no time', async (t) => {
  const { lines, log } = setup('pretty', 'debug');
  log.debug({ a: 1 }, 'x(y) z');
  log.fatal({}, 'end');
  t.same(lines, ['\x1b[90mDEBUG\x1b[0m x(y) z a=1\n', '\x1b[35mFATAL\x1b[0m end\n']);
});

t.test('the level of the root holds for all children and can be changed', async (t) => {
  const { lines, log } = setup('json', 'error');
  const child = log.child({ actor: 'a' }).child({ more: 1 });
  child.info({}, 'one');
  t.equal(lines.length, 0);
  log.level = 'debug';
  child.info({}, 'two');
  child.debug({}, 'three');
  child.error({}, 'four');
  t.equal(lines.length, 3);
  t.equal(log.level, 'debug');
});

t.test('identical messages: the first five, then one in ten seconds with the number left out', async (t) => {
  const { clock, lines, log } = setup('json');
  const actor = log.child({ actor: 'root/bgp' });
  for (let i = 0; i < 20; i += 1) actor.warn({ i }, 'peer(down) retry');
  t.equal(lines.length, 5);
  log.child({ actor: 'root/cni' }).warn({}, 'peer(down) retry');
  actor.error({}, 'peer(down) retry');
  t.equal(lines.length, 7, 'another actor or another level is another message');
  await clock.advance(9_999);
  actor.warn({}, 'peer(down) retry');
  t.equal(lines.length, 7);
  await clock.advance(1);
  actor.warn({ i: 99 }, 'peer(down) retry');
  t.equal(lines.length, 8);
  t.match(JSON.parse(lines[7]!), { suppressed: 16, i: 99 });
  await clock.advance(60_000);
  for (let i = 0; i < 6; i += 1) actor.warn({}, 'peer(down) retry');
  t.equal(lines.length, 13, 'after a quiet minute it is a new message');
});

t.test('the last word is never left out', async (t) => {
  const { lines, log } = setup('json');
  for (let i = 0; i < 10; i += 1) log.fatal({}, 'root(stop)');
  t.equal(lines.length, 10);
});

t.test('the memory for messages is bounded; the oldest is forgotten', async (t) => {
  const limit = new RateLimit();
  for (let i = 0; i < 6; i += 1) limit.admit('key', 0);
  t.equal(limit.admit('key', 0), undefined);
  for (let i = 0; i < 1000; i += 1) t.equal(limit.admit(`other ${i}`, 0), 0);
  t.equal(limit.admit('key', 0), 0);
});
