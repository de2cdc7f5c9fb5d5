import { IncompatibleError } from './errors.js';
import type { Message } from './message.js';

/** `string name[64]` of VPP's table: `<name>_<crc>`, cut behind 63 characters. */
const entry_length_max = 63;
const crc_suffix = /^(.*)_([0-9a-f]{8})$/;

/** A message that VPP has not, or has with another layout. */
export interface Mismatch {
  readonly name: string;
  /** The CRC of the bindings. */
  readonly crc: string;
  /** VPP's CRC for a message of this name; undefined where there is none. */
  readonly vpp_crc: string | undefined;
}

export interface CompatibilityReport {
  readonly compatible: boolean;
  readonly mismatches: readonly Mismatch[];
}

/** The numbers that VPP gave to its messages in this life: they depend on the plugins that it has loaded. */
export class MessageTable {
  readonly #ids = new Map<string, number>();
  readonly #crcs = new Map<string, string>();
  readonly #names: (string | undefined)[] = [];

  constructor(entries: Iterable<{ readonly index: number; readonly name: string }>) {
    for (const { index, name } of entries) {
      this.#ids.set(name, index);
      const [, plain = name, crc] = crc_suffix.exec(name) ?? [];
      if (crc !== undefined) this.#crcs.set(plain, crc);
      this.#names[index] = plain;
    }
  }

  get size(): number {
    return this.#ids.size;
  }

  /** Throws IncompatibleError where VPP has not this very message. */
  id(message: Named): number {
    const id = this.#ids.get(entry(message));
    if (id === undefined)
      throw new IncompatibleError(message.name, message.crc, this.#crcs.get(message.name));
    return id;
  }

  /** For messages about a received id; undefined: VPP has given this id to no message. */
  name(id: number): string | undefined {
    return this.#names[id];
  }

  /** All mismatches at once, in the order asked, of the messages and of what answers them. */
  compare(messages: Iterable<Message<unknown, never>>): CompatibilityReport {
    const mismatches = new Map<string, Mismatch>();
    for (const message of messages) {
      for (const { name, crc } of family(message)) {
        if (!this.#ids.has(entry({ name, crc })))
          mismatches.set(name, { name, crc, vpp_crc: this.#crcs.get(name) });
      }
    }
    return { compatible: mismatches.size === 0, mismatches: [...mismatches.values()] };
  }
}

type Named = Pick<Message<unknown>, 'name' | 'crc'>;

function entry({ name, crc }: Named): string {
  return `${name}_${crc}`.slice(0, entry_length_max);
}

/** A message with its reply, details and events. */
function family(message: Message<unknown, never>): Named[] {
  const { reply, details, events } = message as { reply?: Named; details?: Named; events?: readonly Named[] };
  return [message, reply, details, ...(events ?? [])].filter((one) => one !== undefined);
}
