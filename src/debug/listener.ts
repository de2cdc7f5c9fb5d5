import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import type { Server } from 'node:http';
import type { ListenOptions } from 'node:net';
import { dirname, join } from 'node:path';
import type { Clock, Timer } from '../clock.js';

/** Where to listen. */
export type Address =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly port: number; readonly host?: string };

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 30_000;

export type Note = (level: 'info' | 'warn', fields: object, text: string) => void;

function bind(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      server.off('error', settle);
      server.off('listening', settle);
      if (error === undefined) resolve();
      else reject(error);
    };
    server.on('error', settle);
    server.on('listening', settle);
    server.listen(options);
  });
}

/**
 * Binds a Unix socket that only its owner can use, at no moment anybody else: it is made in a directory of its own and
 * moved, which also replaces what a dead process left behind.
 */
async function bindPrivately(server: Server, path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const directory = mkdtempSync(`${path}.`);
  const temporary = join(directory, 's');
  try {
    await bind(server, { path: temporary });
    chmodSync(temporary, 0o600);
    renameSync(temporary, path);
  } catch (error) {
    if (server.listening) await new Promise((resolve) => server.close(resolve));
    throw error;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Keeps a server listening: an address that is taken is tried again for ever, less and less often. */
export class Listener {
  readonly #server: Server;
  readonly #address: Address;
  readonly #clock: Clock;
  readonly #note: Note;
  #retry_ms = RETRY_FIRST_MS;
  #retry: Timer | undefined;
  #closed = false;
  /** Of the socket: another process may have put its own in its place. */
  #inode: number | undefined;

  constructor(server: Server, address: Address, clock: Clock, note: Note) {
    this.#server = server;
    this.#address = address;
    this.#clock = clock;
    this.#note = note;
  }

  /** Resolves after the first attempt. Never rejects. */
  async start(): Promise<void> {
    const address = this.#address;
    try {
      if (address.kind === 'unix') {
        await bindPrivately(this.#server, address.path);
        this.#inode = statSync(address.path).ino;
      } else {
        await bind(this.#server, { port: address.port, ...(address.host && { host: address.host }) });
      }
      if (this.#closed) return this.close();
      this.#note('info', { address }, 'debug(listen) ready');
    } catch (error) {
      if (this.#closed) return;
      const { code, message } = error as NodeJS.ErrnoException;
      this.#note(
        'warn',
        { address, code, reason: message, retry_ms: this.#retry_ms },
        'debug(listen) cannot listen; tried again',
      );
      this.#retry = this.#clock.after(this.#retry_ms, () => void this.start());
      this.#retry_ms = Math.min(2 * this.#retry_ms, RETRY_MAX_MS);
    }
  }

  close(): void {
    this.#closed = true;
    this.#retry?.cancel();
    this.#server.close();
    this.#server.closeAllConnections();
    if (this.#address.kind === 'unix' && this.#inode !== undefined)
      removeOwn(this.#address.path, this.#inode);
  }
}

function removeOwn(path: string, inode: number): void {
  try {
    if (statSync(path).ino === inode) rmSync(path);
  } catch {
    // It is gone already, which is what was wanted.
  }
}
