import type { Bytes } from '../src/message.js';

/** Two views of these bytes, wherever in their buffer they lie. */
export function bytes_of(bytes: Uint8Array): Bytes {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}
