import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import t from 'tap';
import { wireguardKeys } from '../../src/host/wireguard-key.js';

t.test('a key is made once, for root alone, and stays', async (t) => {
  const path = join(t.testdir(), 'state', 'wireguard.key');
  const made = wireguardKeys(path);
  t.match(made.public_key, /^[A-Za-z0-9+/]{43}=$/);
  t.equal(statSync(path).mode & 0o777, 0o600);
  const text = readFileSync(path, 'utf8');
  t.equal(text.trim(), made.private_key.reveal());
  const again = wireguardKeys(path);
  t.equal(again.public_key, made.public_key);
  t.equal(again.private_key.reveal(), made.private_key.reveal());
  for (const shown of [JSON.stringify(made), inspect(made), `${made.private_key}`])
    t.notOk(shown.includes(text.trim()));
});

t.test('the public key is the one that `wg pubkey` makes of the private key', async (t) => {
  const path = join(t.testdir(), 'wireguard.key');
  writeFileSync(path, `${Buffer.alloc(32, 7).toString('base64')}\n`);
  t.equal(wireguardKeys(path).public_key, 'E75P6uryBMf9M1j8nAByGIHRdCeBKCJ+xnTzf3/pe20=');
});

t.test('a file that holds no key is named, and what is in it is not', async (t) => {
  const dir = t.testdir({ 'wireguard.key': 'a secret of another kind' });
  const path = join(dir, 'wireguard.key');
  t.throws(() => wireguardKeys(path), { message: /wireguard\.key is no WireGuard key: remove the file/ });
  try {
    wireguardKeys(path);
  } catch (error) {
    t.notOk(inspect(error).includes('another kind'));
  }
  t.equal(readFileSync(path, 'utf8'), 'a secret of another kind');
});

t.test('a file that others may read is closed to them', async (t) => {
  const path = join(t.testdir(), 'wireguard.key');
  const { public_key } = wireguardKeys(path);
  for (const mode of [0o644, 0o640, 0o400]) {
    chmodSync(path, mode);
    t.equal(wireguardKeys(path).public_key, public_key);
    t.equal(statSync(path).mode & 0o777, 0o600);
  }
});
