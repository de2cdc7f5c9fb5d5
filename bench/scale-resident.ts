/**
 * Owners of routes, services and policies, in the process of a running node: they share its event loop, its memory and its VPP, to
 * which they have a connection of their own. Loaded into the node beside its program (`node --import`), it does what it is asked by a socket.
 */
import { rmSync } from 'node:fs';
import { connect as connectSocket, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate as turn } from 'node:timers/promises';
import { isMainThread } from 'node:worker_threads';
import { Model } from '../src/reconcile/model.js';
import { costOf, residentMegabytes } from './loop-meter.js';
import { routeAt, translationAt } from './many-objects.js';
import { adopt, Connection, programAll, unwantAll, wantAll } from './owner.js';

const many = 100_000;
const services = 10_000;
/** Wanted in no VPP: objects as large as a policy with ten rules. */
const policies = 2000;

/** Added to the environment of a node, this loads the module into it; the flag is that of the image. */
export const with_resident: Readonly<Record<string, string>> = {
  NODE_OPTIONS: `--max-semi-space-size=8 --import ${import.meta.url}`,
};

const socketIn = (run_dir: string): string => join(run_dir, 'bench.sock');

export interface Adopted {
  readonly cpu_ms: number;
  readonly block_ms: number;
  /** Operations that were found necessary. */
  readonly operations: number;
}

export interface Answers {
  /** Programs the routes and removes them, over and over, until `end`. */
  readonly write: 'begun';
  /** How often it was done, and how late a timer came meanwhile. */
  readonly end: { readonly rounds: number; readonly delay_p99_ms: number; readonly block_ms: number };
  /** Keeps everything, in VPP too. Megabytes that are resident before, with a connection and nothing else, and then. */
  readonly hold: { readonly before_mb: number; readonly then_mb: number };
  /** All five owners read what VPP has of theirs, at once, and compare it. */
  readonly adopt: Adopted;
}

export function askResident<K extends keyof Answers>(run_dir: string, question: K): Promise<Answers[K]> {
  return new Promise((resolve, reject) => {
    const connection = connectSocket(socketIn(run_dir));
    connection.once('error', reject);
    connection.once('close', () => reject(new Error(`bench scale: ${question} was not answered`)));
    createInterface({ input: connection }).once('line', (line) => {
      resolve(JSON.parse(line));
      connection.destroy();
    });
    connection.write(`${question}\n`);
  });
}

class Resident {
  readonly #api_socket: string;
  #connection: Connection | undefined;
  #writing: Promise<Answers['end']> | undefined;
  #ended = false;
  readonly #connectivity = new Model();
  readonly #services = new Model();
  readonly #policies = new Model();

  constructor(api_socket: string) {
    this.#api_socket = api_socket;
  }

  async answer(question: string): Promise<unknown> {
    this.#connection ??= await Connection.open(this.#api_socket);
    const connection = this.#connection;
    switch (question) {
      case 'write':
        this.#writing = this.#write(connection);
        return 'begun';
      case 'end':
        this.#ended = true;
        return this.#writing;
      case 'hold':
        return this.#hold(connection);
      default:
        return this.#adopt(connection);
    }
  }

  async #write(connection: Connection): Promise<Answers['end']> {
    const model = new Model();
    let rounds = 0;
    this.#ended = false;
    const { delay_p99_ms, block_ms } = await costOf(async () => {
      for (; !this.#ended; rounds += 1) {
        await wantAll(model, many, routeAt);
        await programAll(connection, 'connectivity', model);
        await unwantAll(model, many, routeAt);
        await programAll(connection, 'connectivity', model);
      }
    });
    return { rounds, delay_p99_ms, block_ms };
  }

  async #hold(connection: Connection): Promise<Answers['hold']> {
    const before_mb = residentMegabytes();
    await wantAll(this.#connectivity, many, routeAt);
    await wantAll(this.#services, services, translationAt);
    await wantAll(this.#policies, policies, (n) => translationAt(2 * services + n));
    await Promise.all([
      programAll(connection, 'connectivity', this.#connectivity),
      programAll(connection, 'services', this.#services),
    ]);
    return { before_mb, then_mb: residentMegabytes() };
  }

  async #adopt(connection: Connection): Promise<Adopted> {
    await turn();
    const { cpu_ms, block_ms } = await costOf(() =>
      Promise.all([
        adopt(connection, 'connectivity', this.#connectivity),
        adopt(connection, 'services', this.#services),
        connection.read(['node']),
        connection.read(['pods']),
        connection.read(['policies']),
      ]),
    );
    return { cpu_ms, block_ms, operations: this.#connectivity.waiting + this.#services.waiting };
  }
}

function serve(run_dir: string): void {
  const resident = new Resident(join(run_dir, 'vpp-api.sock'));
  const socket = socketIn(run_dir);
  rmSync(socket, { force: true });
  const server = createServer((connection) => {
    connection.on('error', () => undefined);
    createInterface({ input: connection }).once('line', async (question) => {
      const answer = await resident.answer(question);
      connection.write(`${JSON.stringify(answer)}\n`);
    });
  });
  server.listen(socket).unref();
}

const { CALICOVPP_RUN_DIR: run_dir } = process.env;
if (isMainThread && process.argv[2] === 'run' && run_dir !== undefined) serve(run_dir);
