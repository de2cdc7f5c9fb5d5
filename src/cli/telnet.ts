/** The few words of Telnet (RFC 854, 1091, 1073) that VPP's command line socket speaks. */
const SE = 240;
const SB = 250;
const WILL = 251;
const DONT = 254;
const IAC = 255;
const TERMINAL_TYPE = 24;
const WINDOW_SIZE = 31;

/** What the other side wants to know. */
export type Inquiry = 'terminal_type' | 'window_size';

const inquiries: Readonly<Record<number, Inquiry>> = {
  [TERMINAL_TYPE]: 'terminal_type',
  [WINDOW_SIZE]: 'window_size',
};

/** Answer to `terminal_type`. For VPP, `vppctl` means: no prompt, no echo, no pager, a NUL after each command. */
export function terminalType(name: string): Buffer {
  return Buffer.from([IAC, SB, TERMINAL_TYPE, 0, ...Buffer.from(name, 'latin1'), IAC, SE]);
}

/** Answer to `window_size`, also sent unasked when the size changes. */
export function windowSize(columns: number, rows: number): Buffer {
  const body = [columns >> 8, columns & 0xff, rows >> 8, rows & 0xff];
  return Buffer.from([
    IAC,
    SB,
    WINDOW_SIZE,
    ...body.flatMap((byte) => (byte === IAC ? [IAC, IAC] : [byte])),
    IAC,
    SE,
  ]);
}

type State = 'text' | 'command' | 'option' | 'inquiry' | 'inquiry_command';

/** Separates text from negotiation; a chunk may end anywhere. */
export class TelnetReader {
  #state: State = 'text';
  /** Option of the sub-negotiation under way: its first byte. */
  #option: number | undefined;

  read(chunk: Uint8Array): { readonly text: Buffer; readonly inquiries: readonly Inquiry[] } {
    const text: number[] = [];
    const asked: Inquiry[] = [];
    for (const byte of chunk) {
      switch (this.#state) {
        case 'text':
          if (byte === IAC) this.#state = 'command';
          else text.push(byte);
          break;
        case 'command':
          if (byte === IAC) text.push(byte);
          this.#option = undefined;
          this.#state = byte === SB ? 'inquiry' : byte >= WILL && byte <= DONT ? 'option' : 'text';
          break;
        case 'option':
          this.#state = 'text';
          break;
        case 'inquiry':
          if (byte === IAC) this.#state = 'inquiry_command';
          else this.#option ??= byte;
          break;
        case 'inquiry_command': {
          this.#state = byte === SE ? 'text' : 'inquiry';
          const inquiry = byte === SE ? inquiries[this.#option ?? -1] : undefined;
          if (inquiry !== undefined) asked.push(inquiry);
          break;
        }
      }
    }
    return { text: Buffer.from(text), inquiries: asked };
  }
}
