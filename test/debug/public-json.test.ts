import t from 'tap';
import { Secret } from '../../src/config/secret.js';
import { publicJson, secretsIn, withoutSecrets } from '../../src/debug/public-json.js';

const shown = (value: unknown, secrets: string[] = []): unknown =>
  JSON.parse(publicJson(value, new Set(secrets)));

t.test('a value under a telling key is replaced, whatever its type', async (t) => {
  t.strictSame(
    shown({
      psk: 'a',
      password: 'b',
      authPassword: 'c',
      private_key: new Uint8Array([1, 2]),
      crypto_key: Buffer.from('d'),
      bearerToken: 'e',
      nested: [{ clientSecret: 'f' }],
      key: 'name of a pod',
      has_password: true,
      password_set: 'no',
      secret: '',
    }),
    {
      psk: '[redacted]',
      password: '[redacted]',
      authPassword: '[redacted]',
      private_key: '[redacted]',
      crypto_key: '[redacted]',
      bearerToken: '[redacted]',
      nested: [{ clientSecret: '[redacted]' }],
      key: 'name of a pod',
      has_password: true,
      password_set: 'no',
      secret: '',
    },
  );
});

t.test('the secrets of the configuration are taken out of every text', async (t) => {
  const config = {
    ipsec: { psk: new Secret('quote"and\\slash') },
    list: [new Secret(''), new Secret('four')],
  };
  const secrets = secretsIn(config);
  t.strictSame([...secrets], ['quote"and\\slash', 'four']);
  t.strictSame(shown({ error: 'bad psk quote"and\\slash, or four' }, [...secrets]), {
    error: 'bad psk [redacted], or [redacted]',
  });
  t.equal(withoutSecrets('it is four', secrets), 'it is [redacted]');
  t.strictSame(shown({ text: 'a cab' }, ['a']), { text: 'a cab' }, 'a single letter is no secret');
  t.strictSame(shown(config), { ipsec: { psk: '[redacted]' }, list: ['[redacted]', '[redacted]'] });
});

t.test('what JSON cannot hold is shown all the same, and nothing throws', async (t) => {
  t.strictSame(
    shown({
      small: 5n,
      big: 2n ** 64n,
      map: new Map([[1, new Set(['x'])]]),
      error: new TypeError('no'),
      bytes: new Uint8Array([0xde, 0xad]),
      nothing: undefined,
    }),
    {
      small: 5,
      big: '18446744073709551616',
      map: { 1: ['x'] },
      error: { name: 'TypeError', message: 'no' },
      bytes: 'dead',
    },
  );
  t.match(shown({ long: new Uint8Array(100) }), { long: /… \(100 bytes\)$/ });
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  t.match(shown(cycle), { error: /^cannot be shown: / });
  t.equal(publicJson(undefined, new Set()), 'null');
});
