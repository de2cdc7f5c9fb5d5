/** At most so many failures of one file are kept, with so many lines of each: behind that they are counted. */
const limit = { failures: 50, lines: 60 } as const;
/** What a program said last is all there is to know of one that died without naming a test. */
const last_lines = 30;

interface Failure {
  readonly depth: number;
  readonly path: readonly string[];
  readonly lines: string[];
}

/**
 * What has failed in one test file, from the lines of TAP that it writes: the failed checks with the names of the tests around them and
 * tap's account of each. A test that failed because of what is inside of it adds nothing to that. Kept beside the reporter, which shows
 * nothing of a file that ran out of time or wrote what is no TAP.
 */
export class Failures {
  readonly #failures: Failure[] = [];
  readonly #last: string[] = [];
  #more = 0;
  #rest = '';
  #planned = false;
  #around: string[] = [];
  #account: Failure | undefined;
  #within = false;

  /** A piece of what the file wrote, lines or parts of lines. */
  read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#line(line);
  }

  /** Has it said how many tests it has? A program that never does has tested nothing, which a reporter takes for a skip. */
  get planned(): boolean {
    return this.#planned;
  }

  /** Lines to show, without an end; where no check is known to have failed, the last words of the program. */
  shown(): readonly string[] {
    if (this.#failures.length === 0) return this.#last.map((line) => `  ${line}`);
    return [
      ...this.#failures.flatMap(({ path, lines }) => [
        `  ✖ ${path.join(' > ')}`,
        ...lines.map((line) => `    ${line}`),
      ]),
      ...(this.#more > 0 ? [`  and ${this.#more} more`] : []),
    ];
  }

  #line(line: string): void {
    this.#last.push(line);
    if (this.#last.length > last_lines) this.#last.shift();

    if (/^1\.\.\d/.test(line)) this.#planned = true;
    const words = line.trimStart();
    const depth = Math.floor((line.length - words.length) / 4);
    const subtest = /^# Subtest: (.*)$/.exec(words)?.[1];
    if (subtest !== undefined) this.#around = [...this.#around.slice(0, depth), subtest];

    const point = /^(not )?ok\b(?: \d+)?(?: - )?(.*)$/.exec(words);
    if (point === null) {
      this.#continue(line);
      return;
    }
    this.#account = undefined;
    this.#within = false;
    const name = (point[2] ?? '').replace(/ # time=.*$/, '');
    if (point[1] === undefined || / # (todo|skip)\b/i.test(words)) return;
    const inner = this.#failures.at(-1);
    if (inner !== undefined && inner.depth > depth && inner.path[depth] === name) return;
    if (this.#failures.length === limit.failures) {
      this.#more += 1;
      return;
    }
    this.#account = { depth, path: [...this.#around.slice(0, depth), name], lines: [] };
    this.#failures.push(this.#account);
  }

  /** An account follows its check at once, between `---` and `...`; a check may have none. */
  #continue(line: string): void {
    const account = this.#account;
    if (account === undefined) return;
    const text = line.slice(account.depth * 4 + 2);
    if (text === '---' && !this.#within) this.#within = true;
    else if (text === '...' || !this.#within) this.#account = undefined;
    else if (account.lines.length < limit.lines) account.lines.push(text);
  }
}
