import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { pskIn } from '../../src/host/psk-file.js';

t.test('a mounted key is read without white space around it, and told to nobody', async (t) => {
  const directory = t.testdir({
    key: 'hunter2\n',
    empty: ' \n',
    longest: `${'x'.repeat(1024)}\n`,
    long: `${'x'.repeat(1023)}é`,
  });
  const at = (name: string): string => join(directory, name);
  t.equal(pskIn(at('key')).reveal(), 'hunter2');
  writeFileSync(at('key'), 'another');
  t.equal(pskIn(at('key')).reveal(), 'another');
  t.equal(pskIn(at('longest')).reveal().length, 1024, 'white space is not counted');
  t.throws(() => pskIn(at('none')), { message: /none \(ENOENT/ });
  t.throws(() => pskIn(at('empty')), { message: /no key in .*it is empty/ });
  t.throws(() => pskIn(at('long')), { message: /^(?!.*xxx).*more than 1024 bytes/ });
});
