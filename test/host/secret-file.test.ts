import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { secretIn } from '../../src/host/secret-file.js';

t.test('a mounted secret is read without white space around it, and told to nobody', async (t) => {
  const directory = t.testdir({ key: 'hunter2\n', empty: ' \n', long: 'x'.repeat(11) });
  const at = (name: string): string => join(directory, name);
  t.equal(secretIn(at('key'), 10).reveal(), 'hunter2');
  writeFileSync(at('key'), 'another');
  t.equal(secretIn(at('key'), 10).reveal(), 'another');
  t.throws(() => secretIn(at('none'), 10), { message: /none \(ENOENT/ });
  t.throws(() => secretIn(at('empty'), 10), { message: /no key in/ });
  t.throws(() => secretIn(at('long'), 10), { message: /^(?!.*xxx).*more than 10 bytes/ });
});
