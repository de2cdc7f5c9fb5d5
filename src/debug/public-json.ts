import { Secret } from '../config/secret.js';

/**
 * Text that may leave the process. Three nets for secrets: the Secret type prints as `[redacted]` by itself, values under
 * a telling key are replaced, and the known secrets of the configuration are taken out of every text.
 */
const REDACTED = '[redacted]';

const TELLING_KEY =
  /(psk|passphrase|password|passwd|secret|token|(private|preshared|shared|crypto|integ|auth)_?key|auth_?data)$/i;

/** A shorter text would take harmless words apart. */
const SECRET_LENGTH_MIN = 4;
const HEX_BYTES_MAX = 64;

/** The texts of all Secrets inside a value. */
export function secretsIn(value: unknown, found = new Set<string>()): ReadonlySet<string> {
  if (value instanceof Secret) {
    if (!value.is_empty) found.add(value.reveal());
  } else if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) secretsIn(inner, found);
  }
  return found;
}

function plain(key: string, raw: unknown, value: unknown): unknown {
  const binary = raw instanceof Uint8Array;
  if (TELLING_KEY.test(key) && (binary || (typeof raw === 'string' && raw !== ''))) return REDACTED;
  if (binary) {
    const hex = Buffer.from(raw.subarray(0, HEX_BYTES_MAX)).toString('hex');
    return raw.length > HEX_BYTES_MAX ? `${hex}… (${raw.length} bytes)` : hex;
  }
  if (typeof raw === 'bigint') return Number.isSafeInteger(Number(raw)) ? Number(raw) : raw.toString();
  if (raw instanceof Map) return Object.fromEntries([...raw].map(([k, v]) => [String(k), v]));
  if (raw instanceof Set) return [...raw];
  if (raw instanceof Error) return { name: raw.name, message: raw.message };
  return value;
}

/** JSON without secrets. What cannot be shown (a cycle, a getter that throws) becomes `{"error": …}`; never throws. */
export function publicJson(value: unknown, secrets: ReadonlySet<string>): string {
  let text: string;
  try {
    text =
      JSON.stringify(value, function (this: Record<string, unknown>, key, shown) {
        return plain(key, this[key], shown);
      }) ?? 'null';
  } catch (error) {
    text = JSON.stringify({ error: `cannot be shown: ${(error as Error).message}` });
  }
  return withoutSecrets(text, secrets);
}

/** A text in which the secrets may stand as they are, or as inside a JSON string. */
export function withoutSecrets(text: string, secrets: ReadonlySet<string>): string {
  let clean = text;
  for (const secret of secrets) {
    if (secret.length < SECRET_LENGTH_MIN) continue;
    clean = clean.replaceAll(secret, REDACTED).replaceAll(JSON.stringify(secret).slice(1, -1), REDACTED);
  }
  return clean;
}
