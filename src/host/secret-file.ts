/** A secret that is mounted as a file, and may become another one while this process lives. */
import { readFileSync } from 'node:fs';
import { Secret } from '../config/secret.js';

/** What is in this file, without white space around it. Throws with the file, the cause and what to do: never with what is in it. */
export function secretIn(path: string, bytes_max: number): Secret {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new Error(`the key cannot be read from ${path} (${(error as Error).message})`, { cause: error });
  }
  const text = bytes.toString('utf8').trim();
  if (text === '') throw new Error(`there is no key in ${path}: write it there`);
  if (bytes.length > bytes_max)
    throw new Error(`what is in ${path} has more than ${bytes_max} bytes, and is no key`);
  return new Secret(text);
}
