/** Cuts what an API server sends into lines and list items, so that no more than one of them is held at a time. */

/** A piece longer than the limit has been left out. */
export const too_large = Symbol('too large');
export type Piece = Buffer | typeof too_large;

/** The bytes of one piece, from as many chunks as it takes. */
class Gatherer {
  readonly #bytes_max: number;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(bytes_max: number) {
    this.#bytes_max = bytes_max;
  }

  add(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > this.#bytes_max) this.#parts = [];
    else if (part.length > 0) this.#parts.push(part);
  }

  take(): Piece {
    const [only] = this.#parts;
    const whole = this.#parts.length === 1 ? only! : Buffer.concat(this.#parts);
    const piece = this.#bytes > this.#bytes_max ? too_large : whole;
    this.#parts = [];
    this.#bytes = 0;
    return piece;
  }
}

const newline = 10;

/** Lines, as a watch sends its events. A last one without its end is none. */
export class LineSplitter {
  readonly #line: Gatherer;

  constructor(bytes_max: number) {
    this.#line = new Gatherer(bytes_max);
  }

  *feed(chunk: Buffer): Generator<Piece, void, void> {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(newline, from);
      this.#line.add(chunk.subarray(from, end < 0 ? chunk.length : end));
      if (end < 0) return;
      from = end + 1;
      const line = this.#line.take();
      if (line === too_large || line.length > 0) yield line;
    }
  }
}

const quote = 34;
const comma = 44;
const backslash = 92;
const open_bracket = 91;
const close_bracket = 93;
const open_brace = 123;
const close_brace = 125;

/** What of a list is not its items: kind, version, how to go on. */
const envelope_bytes_max = 65_536;
/** The items are an array at depth 2: `{"items":[`. */
const items_depth = 2;

/** The items of a list, `{"metadata":{…},"items":[{…},{…}]}` in any order. The server may send them all at once, whatever was asked. */
export class ItemSplitter {
  readonly #item: Gatherer;
  /** Everything but the items. */
  readonly #envelope = new Gatherer(envelope_bytes_max);
  /** The last bytes of it: is an array that opens that of the items? */
  #tail = '';
  #depth = 0;
  #in_string = false;
  #escaped = false;
  #in_items = false;

  constructor(bytes_max: number) {
    this.#item = new Gatherer(bytes_max);
  }

  *feed(chunk: Buffer): Generator<Piece, void, void> {
    let from = 0;
    const upTo = (end: number): void => {
      const part = chunk.subarray(from, end);
      from = end;
      if (this.#in_items && this.#depth >= items_depth) this.#item.add(part);
      else {
        this.#envelope.add(part);
        this.#tail = `${this.#tail}${part.subarray(-tail_length).toString('latin1')}`.slice(-tail_length);
      }
    };
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at]!;
      if (this.#in_string) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#in_string = false;
      } else if (byte === quote) this.#in_string = true;
      else if (byte === open_brace || byte === open_bracket) {
        if (!this.#in_items && byte === open_bracket && this.#depth === items_depth - 1) {
          upTo(at + 1);
          this.#in_items = /"items"\s*:\s*\[$/.test(this.#tail);
        }
        this.#depth += 1;
      } else if (byte === close_brace || byte === close_bracket) {
        if (this.#in_items && this.#depth === items_depth) {
          // What is left are blanks, or no object.
          upTo(at);
          this.#item.take();
          this.#in_items = false;
        }
        this.#depth -= 1;
        if (this.#in_items && this.#depth === items_depth && byte === close_brace) {
          upTo(at + 1);
          yield this.#item.take();
        }
      } else if (byte === comma && this.#in_items && this.#depth === items_depth) {
        upTo(at + 1);
        this.#item.take();
      }
    }
    upTo(chunk.length);
  }

  /** The list without its items; undefined when it is not whole, or no JSON. */
  envelope(): unknown {
    const envelope = this.#envelope.take();
    if (envelope === too_large) return undefined;
    try {
      // One that broke off is no JSON.
      return JSON.parse(envelope.toString('utf8'));
    } catch {
      return undefined;
    }
  }
}

const tail_length = 64;
