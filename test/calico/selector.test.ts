import fc from 'fast-check';
import t from 'tap';
import {
  type Labels,
  parseSelector,
  selector_depth_max,
  selector_length_max,
} from '../../src/calico/selector.js';

function matches(text: string, labels: Labels): boolean {
  const parsed = parseSelector(text);
  if ('fault' in parsed) throw new Error(`${text}: at ${parsed.fault.at}: ${parsed.fault.cause}`);
  return parsed.matches(labels);
}

/** Selector, labels, whether they match. */
const table: readonly (readonly [string, Labels, boolean])[] = [
  // All.
  ['', {}, true],
  [' \t ', { a: 'b' }, true],
  ['all()', {}, true],
  ['all( )', {}, true],
  ['global()', {}, true],
  ['!all()', {}, false],
  // ==, !=
  [`a == 'b'`, { a: 'b' }, true],
  [`a=="b"`, { a: 'b' }, true],
  [`a == 'b'`, { a: 'c' }, false],
  [`a == 'b'`, {}, false],
  [`a == ''`, { a: '' }, true],
  [`a == ''`, {}, false],
  [`a != 'b'`, { a: 'b' }, false],
  [`a != 'b'`, { a: 'c' }, true],
  [`a != 'b'`, {}, true],
  [`a!='b'`, { a: 'b' }, false],
  [`a == 'it"s'`, { a: 'it"s' }, true],
  [`a == "it's"`, { a: "it's" }, true],
  [`a == 'b && c'`, { a: 'b && c' }, true],
  [`a == 'a\\b'`, { a: 'a\\b' }, true],
  // in, not in
  [`a in {'b', 'c'}`, { a: 'c' }, true],
  [`a in {'b','c'}`, { a: 'd' }, false],
  [`a in {'b'}`, {}, false],
  [`a in{'b',}`, { a: 'b' }, true],
  ['a in {}', { a: 'b' }, false],
  ['a in { }', {}, false],
  [`a not in {'b', 'c'}`, { a: 'b' }, false],
  [`a not in {'b', 'c'}`, { a: 'd' }, true],
  [`a not in {'b'}`, {}, true],
  [`a notin {'b'}`, { a: 'b' }, false],
  [`a not \t in {'b'}`, { a: 'b' }, false],
  ['a not in {}', { a: 'b' }, true],
  // has
  ['has(a)', { a: '' }, true],
  ['has(a)', {}, false],
  ['has( a )', { a: 'x' }, true],
  ['!has(a)', {}, true],
  ['! has(a)', { a: 'x' }, false],
  ['has(constructor)', {}, false],
  [`toString == 'x'`, {}, false],
  [`toString contains 'x'`, {}, false],
  // contains, starts with, ends with
  [`a contains 'b'`, { a: 'abc' }, true],
  [`a contains 'd'`, { a: 'abc' }, false],
  [`a contains 'b'`, {}, false],
  [`a starts with 'ab'`, { a: 'abc' }, true],
  [`a starts with 'bc'`, { a: 'abc' }, false],
  [`a starts with ''`, {}, false],
  [`a startswith'ab'`, { a: 'abc' }, true],
  [`a ends with 'bc'`, { a: 'abc' }, true],
  [`a ends with 'ab'`, { a: 'abc' }, false],
  [`a endswith 'bc'`, { a: 'abc' }, true],
  [`a ends with 'bc'`, {}, false],
  // &&, ||, !, parentheses
  [`a == 'b' && c == 'd'`, { a: 'b', c: 'd' }, true],
  [`a == 'b' && c == 'd'`, { a: 'b' }, false],
  [`a == 'b' || c == 'd'`, { c: 'd' }, true],
  [`a == 'b' || c == 'd'`, {}, false],
  ['has(a)||has(b)&&has(c)', { a: '' }, true],
  ['has(b)&&has(c)||has(a)', { a: '' }, true],
  ['(has(a)||has(b))&&has(c)', { a: '' }, false],
  ['(has(a) || has(b)) && has(c)', { b: '', c: '' }, true],
  [`!a == 'b'`, { a: 'b' }, false],
  [`!a == 'b'`, {}, true],
  ['!!has(a)', { a: '' }, true],
  ['!(has(a) && has(b))', { a: '' }, true],
  ['((has(a)))', { a: '' }, true],
  [Array(100).fill('(has(a))').join('&&'), { a: '' }, true],
  // Words as labels; labels with all the characters they may have.
  [`in in {'in'}`, { in: 'in' }, true],
  [`not not in {'x'}`, { not: 'y' }, true],
  [`contains contains 'x'`, { contains: 'x' }, true],
  [`all == 'x'`, { all: 'x' }, true],
  [`has == 'x'`, { has: 'x' }, true],
  [`projectcalico.org/orchestrator == 'k8s'`, { 'projectcalico.org/orchestrator': 'k8s' }, true],
  ['has(A-z_0.9/b)', { 'A-z_0.9/b': '' }, true],
  [`has(${'l'.repeat(512)})`, { ['l'.repeat(512)]: '' }, true],
];

/** Selector, where it breaks, and what is said of it. */
const refused: readonly (readonly [string, number, RegExp])[] = [
  ['a', 1, /behind the label a, found the end/],
  [`a = 'b'`, 2, /expected ==/],
  [`a === 'b'`, 4, /a value in quotes, found "= 'b'"/],
  ['a == b', 5, /a value in quotes, found "b"/],
  [`a == 'b`, 5, /a value in quotes/],
  [`a == 'b' c == 'd'`, 9, /expected && or \|\|/],
  [`a == 'b' &&`, 11, /a label, found the end/],
  [`&& a == 'b'`, 0, /a label/],
  [`a == 'b' & c == 'd'`, 9, /expected &&/],
  [`(a == 'b'`, 9, /expected \), found the end/],
  [`a == 'b')`, 8, /expected && or \|\|/],
  ['()', 1, /a label/],
  ['!', 1, /a label, found the end/],
  ['has()', 4, /a label/],
  ['has (a)', 4, /behind the label has/],
  ['all ()', 4, /behind the label all/],
  ['all(x)', 3, /behind the label all/],
  ['has(a', 5, /expected \)/],
  [`a in 'b'`, 5, /expected {/],
  [`a in {'b'`, 9, /expected }/],
  [`a in {'b' 'c'}`, 10, /expected }/],
  ['a in {b}', 6, /a value in quotes/],
  ['a in {,}', 6, /a value in quotes/],
  [`a inx {'b'}`, 2, /behind the label a/],
  [`a starts 'b'`, 2, /behind the label a/],
  [`a containsx 'b'`, 2, /behind the label a/],
  [`a\n== 'b'`, 1, /behind the label a/],
  [`ä == 'b'`, 0, /a label/],
  [`${'l'.repeat(513)} == 'b'`, 514, /more than 512/],
  [`${'('.repeat(selector_depth_max + 1)}all()`, selector_depth_max + 1, /parentheses deep/],
  [' '.repeat(selector_length_max + 1), selector_length_max, /longer than/],
];

t.test('each operator selects what Calico says', async (t) => {
  for (const [text, labels, expected] of table)
    t.equal(
      matches(text, labels),
      expected,
      `${text || '(empty)'} of ${JSON.stringify(labels)}`.slice(0, 100),
    );
});

t.test('what is no selector is refused with its place and what was expected', async (t) => {
  for (const [text, at, cause] of refused) {
    const parsed = parseSelector(text);
    const fault = 'fault' in parsed ? parsed.fault : undefined;
    t.match(fault, { at, cause }, text.slice(0, 100));
  }
});

t.test('as deep and as long as it may be', async (t) => {
  const deep = `${'('.repeat(selector_depth_max)}all()${')'.repeat(selector_depth_max)}`;
  t.equal(matches(deep, {}), true);
  t.equal(
    matches(`${'!'.repeat(selector_length_max - 5)}all()`, {}),
    false,
    'a run of negations is no recursion',
  );
});

t.test('any text gets a predicate or a fault within it, and never an exception', async () => {
  const pieces = [
    'a',
    "'b'",
    '"c"',
    '==',
    '!=',
    'in',
    'not in',
    '{',
    '}',
    ',',
    '(',
    ')',
    '!',
    '&&',
    '||',
    ' ',
    'has(',
    'all()',
    'starts with',
    'ä',
  ];
  const text = fc.array(fc.constantFrom(...pieces), { maxLength: 30 }).map((words) => words.join(''));
  fc.assert(
    fc.property(fc.oneof(text, fc.string()), (selector) => {
      const parsed = parseSelector(selector);
      if ('fault' in parsed) return parsed.fault.at >= 0 && parsed.fault.at <= selector.length;
      return typeof parsed.matches({ a: 'b' }) === 'boolean';
    }),
  );
});
