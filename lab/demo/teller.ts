/** Tells the story of the demo on a terminal: chapters, prose, output and proofs. Remembers which proofs did not hold. */
import { stripVTControlCharacters } from 'node:util';

/** Columns of everything that is told. */
export const columns_max = 100;
const prose_indent = '  ';
const shown_indent = '    ';
/** Columns that are left for what is shown. */
export const columns_shown = columns_max - shown_indent.length;

export interface Page {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export class Teller {
  readonly #page: Page;
  readonly #broken: string[] = [];
  #chapters = 0;
  #proofs = 0;
  #silent = false;
  #after_gap = false;

  constructor(page: Page) {
    this.#page = page;
  }

  /** What was to be proved and was not. */
  get broken(): readonly string[] {
    return this.#broken;
  }

  get proofs(): number {
    return this.#proofs;
  }

  title(text: string): void {
    this.#gap();
    this.#line(this.#styled('bold', text));
  }

  chapter(title: string): void {
    this.#chapters += 1;
    this.#gap();
    this.#line(this.#styled('bold', `${this.#chapters}. ${title}`));
  }

  /** Prose: one paragraph, broken into lines. */
  say(text: string): void {
    for (const line of wrapped(text, columns_max - prose_indent.length)) this.#line(prose_indent + line);
  }

  /** Output of something, as it is but for what is too wide. `$ command` before it when a command gives the same. */
  show(text: string, command?: string): void {
    this.#gap();
    if (command !== undefined) this.#line(this.#styled('dim', `${shown_indent}$ ${command}`));
    for (const line of text.trimEnd().split('\n')) this.#line(cut(`${shown_indent}${line}`.trimEnd()));
    this.#gap();
  }

  /** Commands to be copied: whole, however wide. */
  offer(commands: readonly string[]): void {
    this.#gap();
    for (const command of commands) this.#line(shown_indent + command);
    this.#gap();
  }

  table(rows: readonly (readonly string[])[]): void {
    const widths: number[] = [];
    for (const row of rows) {
      row.forEach((cell, at) => {
        widths[at] = Math.max(widths[at] ?? 0, cell.length);
      });
    }
    this.show(rows.map((row) => row.map((cell, at) => cell.padEnd(widths[at]!)).join('  ')).join('\n'));
  }

  /** Something that has to be true for the demo to succeed. */
  prove(text: string, held: boolean): void {
    this.#proofs += 1;
    if (!held) this.#broken.push(text);
    const mark = held ? this.#styled('green', '✓') : this.#styled('red', '✗ NOT SO:');
    this.#line(`${prose_indent}${mark} ${text}`);
  }

  /** Nothing more is told. */
  hush(): void {
    this.#silent = true;
  }

  /** One empty line, however often asked for. */
  #gap(): void {
    if (!this.#after_gap) this.#line('');
  }

  #line(text: string): void {
    if (this.#silent) return;
    this.#after_gap = text === '';
    this.#page.write(`${text}\n`);
  }

  #styled(style: keyof typeof styles, text: string): string {
    return this.#page.isTTY === true ? `\u001b[${styles[style]}m${text}\u001b[0m` : text;
  }
}

const styles = { bold: 1, dim: 2, red: 31, green: 32 } as const;

function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/).filter((part) => part !== '')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function cut(line: string): string {
  const plain = stripVTControlCharacters(line);
  return plain.length <= columns_max ? plain : `${plain.slice(0, columns_max - 1)}…`;
}
