import { inspect } from 'node:util';

const redacted = '[redacted]';

/** A text that must not reach a log, the debug endpoint or a crash report: every way of printing it but `reveal` shows `[redacted]`. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  get is_empty(): boolean {
    return this.#text === '';
  }

  reveal(): string {
    return this.#text;
  }

  equals(other: Secret): boolean {
    return this.#text === other.#text;
  }

  toString(): string {
    return redacted;
  }

  toJSON(): string {
    return redacted;
  }

  [inspect.custom](): string {
    return redacted;
  }
}
