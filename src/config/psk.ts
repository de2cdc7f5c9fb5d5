/** The key that nodes share for IPsec: the same one, whether it comes by a variable or by a file. */
import { Secret } from './secret.js';

/** VPP's IKEV2_MAX_DATA_LEN. */
export const psk_bytes_max = 1024;

/** Without the white space around it that editors, and secrets made of files, leave. */
export const pskOf = (text: string): Secret => new Secret(text.trim());

/** Why VPP would not take it; undefined: it does. */
export function pskFault(psk: Secret): { readonly cause: string; readonly step: string } | undefined {
  if (psk.is_empty) return { cause: 'it is empty', step: 'put the key there' };
  if (Buffer.byteLength(psk.reveal()) <= psk_bytes_max) return undefined;
  return {
    cause: `it has more than ${psk_bytes_max} bytes, which VPP does not take`,
    step: `use a key of ${psk_bytes_max} bytes at most`,
  };
}
