/** A directory of small files that others wait for: each is there while it is wanted. Nothing outlives the machine's boot, so that nothing waits for a disk. */
import { mkdir, opendir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from './files.js';

/** A file of ours that is half written. */
const temporary_suffix = '.tmp';
/** Of somebody else's files no more are looked at. */
const entries_max = 100_000;

export class StatusFiles {
  readonly #directory: string;
  /** Which names in the directory are ours to remove. */
  readonly #isOurs: (name: string) => boolean;
  /** What is to be in the directory. */
  readonly #wanted = new Map<string, string>();
  /** Not as it should be by now. */
  readonly #due = new Set<string>();
  readonly #faults = new Map<string, string>();
  #sweep = false;
  #work: Promise<void> | undefined;

  constructor(directory: string, isOurs: (name: string) => boolean) {
    this.#directory = directory;
    this.#isOurs = isOurs;
  }

  /** By file, or by directory: why it is not as it should be. */
  get faults(): ReadonlyMap<string, string> {
    return this.#faults;
  }

  get count(): number {
    return this.#wanted.size;
  }

  /** Undefined: it is to go. Idempotent. */
  set(name: string, text: string | undefined): void {
    if (text !== undefined && this.#wanted.get(name) === text && !this.#faults.has(name)) return;
    if (text === undefined) this.#wanted.delete(name);
    else this.#wanted.set(name, text);
    this.#due.add(name);
    this.#begin();
  }

  /** All that is wanted has been set: what else of ours is in the directory is of an earlier life, and goes. */
  sweep(): void {
    this.#sweep = true;
    this.#begin();
  }

  /** Tries again what has failed. */
  retry(): void {
    for (const name of this.#faults.keys()) if (name !== this.#directory) this.#due.add(name);
    this.#begin();
  }

  /** Resolves when nothing is left to do but what has failed. */
  async idle(): Promise<void> {
    while (this.#work !== undefined) await this.#work;
  }

  #begin(): void {
    this.#work ??= this.#run().finally(() => {
      this.#work = undefined;
    });
  }

  /** One file after the other. */
  async #run(): Promise<void> {
    // Whoever sets several at once has them written by one run.
    await Promise.resolve();
    if (
      !(await this.#attempt(this.#directory, () => mkdir(this.#directory, { recursive: true, mode: 0o755 })))
    )
      return;
    for (;;) {
      const [name] = this.#due;
      if (name !== undefined) {
        this.#due.delete(name);
        await this.#attempt(name, () => this.#put(name, this.#wanted.get(name)));
      } else if (this.#sweep) {
        this.#sweep = false;
        if (!(await this.#attempt(this.#directory, () => this.#removeStrays()))) this.#sweep = true;
        if (this.#sweep) return;
      } else return;
    }
  }

  async #put(name: string, text: string | undefined): Promise<void> {
    const path = join(this.#directory, name);
    if (text === undefined) return rm(path, { force: true });
    const temporary = `${path}${temporary_suffix}`;
    try {
      await writeFile(temporary, text, { mode: 0o644 });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  async #removeStrays(): Promise<void> {
    const strays: string[] = [];
    let seen = 0;
    for await (const entry of await opendir(this.#directory)) {
      const { name } = entry;
      const of = name.endsWith(temporary_suffix) ? name.slice(0, -temporary_suffix.length) : name;
      if (entry.isFile() && this.#isOurs(of)) strays.push(name);
      seen += 1;
      if (seen === entries_max) break;
    }
    for (const name of strays)
      if (!this.#wanted.has(name)) await rm(join(this.#directory, name), { force: true });
  }

  async #attempt(what: string, attempt: () => Promise<unknown>): Promise<boolean> {
    try {
      await attempt();
      this.#faults.delete(what);
      return true;
    } catch (error) {
      const step =
        errorCode(error) === 'ENAMETOOLONG'
          ? 'the CNI plugin waits for this pod in vain'
          : 'make it writable';
      this.#faults.set(what, `${(error as Error).message}: ${step}`);
      return false;
    }
  }
}
