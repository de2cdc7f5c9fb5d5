import { Secret } from '../../config/secret.js';
import { isRecord } from '../fields.js';
import { type Kind, pickFields } from './kind.js';

/** Values of a Secret by key. A value shows itself to `reveal` alone. */
export type SecretValues = ReadonlyMap<string, Secret>;

/** Longest value that is kept; TCP's MD5 option takes 80 bytes. */
const value_bytes_max = 4096;
/** Keys of one Secret that are kept. */
const keys_max = 64;

/** Base64 of UTF-8. */
function decoded(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > value_bytes_max * 2) return undefined;
  const bytes = Buffer.from(value, 'base64');
  if (bytes.length > value_bytes_max) return undefined;
  const text = bytes.toString('utf8');
  return Buffer.from(text).equals(bytes) ? text : undefined;
}

/** One Secret of a namespace. Faults name its keys, never a value. */
export function secretKind(namespace: string, object_name: string): Kind<SecretValues> {
  return {
    name: 'Secret',
    plural: 'secrets',
    versions: ['v1'],
    absence: 'wait',
    page: 1,
    objects_max: 1,
    namespace,
    object_name,
    same: (a, b) =>
      a.size === b.size && [...a].every(([key, value]) => b.get(key)?.reveal() === value.reveal()),
    pick: (_name, object) =>
      pickFields(object, (_fields, faults) => {
        const data = isRecord(object.data) ? object.data : {};
        const values = new Map<string, Secret>();
        for (const [key, value] of Object.entries(data).slice(0, keys_max)) {
          const text = decoded(value);
          if (text === undefined) faults.add(`data.${key}`, `is no text of at most ${value_bytes_max} bytes`);
          else values.set(key, new Secret(text));
        }
        return values;
      }),
  };
}
