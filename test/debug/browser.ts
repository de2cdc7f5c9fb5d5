/** Headless Chromium, spoken to over a pipe: no driver, no port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

const names = ['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome'];

/** Its path, or undefined: there is none on this machine. `CHROMIUM` names another. */
export function findChromium(): string | undefined {
  const { CHROMIUM: named, PATH = '' } = process.env;
  if (named !== undefined) return named;
  return PATH.split(delimiter)
    .flatMap((directory) => names.map((name) => join(directory, name)))
    .find((path) => existsSync(path));
}

interface Answer {
  readonly id?: number;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
}

const answer_ms = 30_000;

export class Browser {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #open = new Map<number, { resolve(answer: Answer): void }>();
  /** What pages have complained of. */
  readonly complaints: string[] = [];
  #last = 0;
  #session = '';
  #rest = '';

  private constructor(path: string) {
    this.#directory = mkdtempSync(join(tmpdir(), 'browser-'));
    this.#child = spawn(
      path,
      [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--no-first-run',
        `--user-data-dir=${this.#directory}`,
        '--remote-debugging-pipe',
        'about:blank',
      ],
      // A group of its own: the browser is several processes.
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], detached: true },
    );
    const output = this.#child.stdio[4] as Readable;
    output.setEncoding('utf8');
    output.on('data', (chunk: string) => {
      const texts = (this.#rest + chunk).split('\0');
      this.#rest = texts.pop()!;
      for (const text of texts) this.#hear(JSON.parse(text) as Answer);
    });
  }

  /** With one page, which is blank. */
  static async start(path: string): Promise<Browser> {
    const browser = new Browser(path);
    const { targetId } = await browser.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await browser.send('Target.attachToTarget', { targetId, flatten: true });
    browser.#session = String(sessionId);
    for (const domain of ['Page', 'Runtime', 'Log']) await browser.send(`${domain}.enable`);
    return browser;
  }

  #hear({ id, method, params, ...answer }: Answer): void {
    if (id !== undefined) this.#open.get(id)?.resolve(answer);
    if (method === 'Log.entryAdded' || method === 'Runtime.exceptionThrown')
      this.complaints.push(JSON.stringify(params));
  }

  async send(method: string, params: object = {}): Promise<Readonly<Record<string, unknown>>> {
    const id = ++this.#last;
    const session = this.#session === '' ? {} : { sessionId: this.#session };
    const answer = await new Promise<Answer>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no answer to ${method}`)), answer_ms);
      this.#open.set(id, {
        resolve: (found) => {
          clearTimeout(late);
          resolve(found);
        },
      });
      (this.#child.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    }).finally(() => this.#open.delete(id));
    if (answer.error !== undefined) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result ?? {};
  }

  /** The value of an expression in the page, which may be a promise. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = (await this.send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    })) as { result: { value: T }; exceptionDetails?: object };
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return result.value;
  }

  /** Resolves once the expression is true, looked at with each frame of the page. */
  async until(expression: string): Promise<void> {
    await this.evaluate(
      `new Promise((resolve) => { const look = () => ((${expression}) ? resolve(true) : setTimeout(look, 20)); look(); })`,
    );
  }

  async press(key: string): Promise<void> {
    const text = key.length === 1 ? { text: key } : key === 'Enter' ? { text: '\r' } : {};
    const windowsVirtualKeyCode = key === 'Enter' ? 13 : key === 'Escape' ? 27 : 0;
    await this.send('Input.dispatchKeyEvent', {
      type: 'keyDown',
      key,
      code: key,
      windowsVirtualKeyCode,
      ...text,
    });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', key, code: key, windowsVirtualKeyCode });
  }

  /** A PNG of the window. */
  async screenshot(): Promise<Buffer> {
    return Buffer.from(String((await this.send('Page.captureScreenshot', { format: 'png' })).data), 'base64');
  }

  async close(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = new Promise((resolve) => this.#child.once('exit', resolve));
      process.kill(-this.#child.pid!, 'SIGKILL');
      await gone;
    }
    for (const pipe of this.#child.stdio) pipe?.destroy();
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
}
