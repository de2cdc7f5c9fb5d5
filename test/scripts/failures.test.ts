import t from 'tap';
import { Failures } from '../../scripts/failures.js';

const failuresOf = (...pieces: string[]): readonly string[] => {
  const failures = new Failures();
  for (const piece of pieces) failures.read(piece);
  return failures.shown();
};

const tap = `TAP version 14
# Subtest: pods
    # Subtest: of one node
        ok 1 - echo
        not ok 2 - TCP
          ---
          diff: |
            -2
            +1
          ...
        
        1..2
        # failed 1 of 2 tests
    not ok 1 - of one node # time=1.2ms
      ---
      at: somewhere
      ...
    
    not ok 2 - known # todo later
    1..2
not ok 1 - pods # time=3ms

# Subtest: hosts
    not ok 1 - timeout!
    1..1
not ok 2 - hosts # time=600000ms
not ok 3 - no test around it
1..3
`;
const expected = [
  '  ✖ pods > of one node > TCP',
  '    diff: |',
  '      -2',
  '      +1',
  '  ✖ hosts > timeout!',
  '  ✖ no test around it',
];

t.test('a failed check is shown with the tests around it and its account, and once', async (t) => {
  t.strictSame(failuresOf(tap), expected);
});

t.test('what comes in pieces is the same', async (t) => {
  t.strictSame(failuresOf(...tap), expected);
});

t.test('a program that died without naming a test is known by its last words', async (t) => {
  t.strictSame(failuresOf('ok 1 - fine\n', 'Error: no such module\n'), [
    '  ok 1 - fine',
    '  Error: no such module',
  ]);
});

t.test('a program without a plan is told from one that skips all', async (t) => {
  const planned = (text: string): boolean => {
    const failures = new Failures();
    failures.read(text);
    return failures.planned;
  };
  t.equal(planned('nothing\n'), false);
  t.equal(planned('TAP version 14\n    1..1\n'), false, 'a plan of a test inside is none of the program');
  t.equal(planned('TAP version 14\n1..0 # needs a VPP\n'), true);
});

t.test('a flood of failures is counted', async (t) => {
  const shown = failuresOf(...Array.from({ length: 70 }, (_, index) => `not ok ${index} - check ${index}\n`));
  t.equal(shown.length, 51);
  t.equal(shown.at(-1), '  and 20 more');
});
