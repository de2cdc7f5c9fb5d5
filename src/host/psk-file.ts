/** The key of IPsec, mounted as a file, which may become another one while this process lives. */
import { readFileSync } from 'node:fs';
import { pskFault, pskOf } from '../config/psk.js';
import type { Secret } from '../config/secret.js';

/** What is in this file, as a variable would have it. Throws with the file, the cause and what to do: never with what is in it. */
export function pskIn(path: string): Secret {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`the key cannot be read from ${path} (${(error as Error).message})`, { cause: error });
  }
  const psk = pskOf(text);
  const fault = pskFault(psk);
  if (fault !== undefined) throw new Error(`there is no key in ${path}: ${fault.cause}; ${fault.step}`);
  return psk;
}
