/** An executor over a VPP whose answers the test gives, in the order in which each connection was asked. */
import { type Asker, type Client, RetvalError } from 'vpp-binapi-ts';
import { memoryFile } from '../../lab/memory-file.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { VppObject } from '../../src/objects/object.js';
import type { Operation } from '../../src/reconcile/operation.js';
import type { Transaction, TransactionResult } from '../../src/reconcile/transaction.js';
import { Executor } from '../../src/vpp-conn/execute.js';
import { route_sources } from '../../src/vpp-conn/fib-sources.js';
import { Handles } from '../../src/vpp-conn/handles.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';
import { Registry } from '../../src/vpp-conn/registry.js';

export type Way = 'prompt' | 'bulk';

interface Asked {
  readonly text: string;
  answer(): void;
  lose(error: Error): void;
}

interface Fields {
  readonly is_add?: boolean;
  readonly route?: { readonly prefix: string };
  readonly sw_if_index?: number;
  readonly host_if_name?: string;
}

/** `ip_route_add_del_v2 10.0.0.0/24`, `-` before the message of a removal. */
function inWords(name: string, { is_add, route, sw_if_index, host_if_name }: Fields): string {
  const of = route?.prefix ?? host_if_name ?? sw_if_index;
  return `${is_add === false ? '-' : ''}${name}${of === undefined ? '' : ` ${of}`}`;
}

export class AnsweringVpp {
  /** All that was sent, in order. */
  readonly log: string[] = [];
  readonly most: Record<Way, number> = { prompt: 0, bulk: 0 };
  /** What VPP answers instead of 0; an error is thrown as it is. */
  refuses: (text: string) => number | Error | undefined = () => undefined;
  readonly #asked: Readonly<Record<Way, Asked[]>> = { prompt: [], bulk: [] };
  #last = 10;
  #dead: Error | undefined;

  readonly connections = { prompt: this.#requester('prompt'), bulk: this.#requester('bulk') };

  inFlight(way: Way): string[] {
    return this.#asked[way].map(({ text }) => text);
  }

  /** Answers the oldest `count` on this connection; what is sent because of it comes after. */
  async answer(count = 1, way: Way = 'prompt'): Promise<void> {
    for (let n = 0; n < count; n += 1) this.#asked[way].shift()?.answer();
    await turn();
  }

  /** Answers all on both connections until nothing more is sent. */
  async answerAll(): Promise<void> {
    await turn();
    while (this.#asked.prompt.length + this.#asked.bulk.length > 0) {
      await this.answer(this.#asked.prompt.length, 'prompt');
      await this.answer(this.#asked.bulk.length, 'bulk');
    }
  }

  /** All connections end. */
  die(error = new Error('disconnected')): void {
    this.#dead = error;
    for (const way of ['prompt', 'bulk'] as const)
      for (const asked of this.#asked[way].splice(0)) asked.lose(error);
  }

  take(): string[] {
    return this.log.splice(0);
  }

  #requester(way: Way): Pick<Client, 'ask'> {
    const request = ({ name }: { readonly name: string }, fields: Fields): Promise<unknown> => {
      if (this.#dead !== undefined) return Promise.reject(this.#dead);
      const text = inWords(name, fields);
      this.log.push(text);
      const answered = new Promise((resolve, reject) => {
        this.#asked[way].push({
          text,
          answer: () => {
            const refusal = this.refuses(text);
            if (refusal instanceof Error) return reject(refusal);
            if (refusal !== undefined) return reject(new RetvalError(name, refusal, {}));
            this.#last += 1;
            const made = this.#last;
            resolve({ retval: 0, sw_if_index: made, id: made, new_table_index: made });
          },
          lose: reject,
        });
      });
      this.most[way] = Math.max(this.most[way], this.#asked[way].length);
      return answered;
    };
    return asking(request);
  }
}

/** A client whose answers are promises. */
export function asking(
  request: (message: { readonly name: string }, fields: object) => Promise<unknown>,
): Pick<Client, 'ask'> {
  const ask = (message: { readonly name: string }, fields: object, asker: Asker<unknown>): void => {
    request(message, fields).then(
      (reply) => asker.answered(reply),
      (error) => asker.refused(error),
    );
  };
  return { ask: ask as unknown as Client['ask'] };
}

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Lives of one VPP after the other, under one quarantine. */
export class ExecutorLab {
  readonly clock = new TurnedClock();
  readonly quarantine_file = memoryFile();
  readonly registry_file = memoryFile();
  quarantine = new Quarantine(this.quarantine_file, () => undefined);
  vpp!: AnsweringVpp;
  handles!: Handles;
  registry!: Registry;
  executor!: Executor;
  /** When VPP was heard last, if that is not now. */
  heard_ms: number | undefined;
  /** Of VPP to a question beside the transactions. */
  answers: () => Promise<unknown> = () => Promise.resolve();
  #lives = 0;

  /** `way`: instead of the answering VPP's connections. */
  constructor(readonly way?: Pick<Client, 'ask'>) {
    this.begin();
  }

  /** Another VPP. */
  begin(): void {
    this.#lives += 1;
    this.vpp = new AnsweringVpp();
    this.handles = new Handles();
    for (const [id, source] of route_sources.entries()) this.handles.setFibSource(source, id + 20);
    this.registry = new Registry(this.registry_file, `vpp ${this.#lives}`);
    this.executor = new Executor({
      connections: this.way ? { prompt: this.way, bulk: this.way } : this.vpp.connections,
      handles: this.handles,
      registry: this.registry,
      quarantine: this.quarantine,
      clock: this.clock,
      heard_ms: () => this.heard_ms ?? this.clock.now_ms(),
      answers: () => this.answers(),
    });
  }

  run(
    operations: readonly Operation[],
    changes: Partial<Transaction> = {},
    abandoned: () => boolean = () => false,
  ): Promise<TransactionResult> {
    const result = this.executor.run(
      { generation: 1, owner: 'test', operations, on_error: 'continue', urgency: 'prompt', ...changes },
      abandoned,
    );
    result.catch(() => undefined);
    return result;
  }

  /** Runs it and answers all that is asked. */
  async does(
    operations: readonly Operation[],
    changes: Partial<Transaction> = {},
  ): Promise<TransactionResult> {
    const result = this.run(operations, changes);
    await this.vpp.answerAll();
    return result;
  }

  /** VPP dies by itself. Answers the names of those who are accused. */
  dies(): string[] {
    const suspects = this.executor.suspects();
    this.vpp.die();
    this.executor.fail(new Error('disconnected'));
    this.quarantine.accuse(suspects);
    this.begin();
    return suspects.map(({ name }) => name);
  }
}

export const adds = (...objects: VppObject[]): Operation[] =>
  objects.map((object) => ({ action: 'add', object }));
export const removes = (...objects: VppObject[]): Operation[] =>
  objects.map((object) => ({ action: 'remove', object }));

export const tap = (tag: string): VppObject => ({
  kind: 'tap',
  tag,
  host_namespace: 'pid:1',
  host_if_name: tag,
  host_mtu: 1500,
  rx_queues: 1,
  tx_queues: 1,
  rx_ring_size: 1024,
  tx_ring_size: 1024,
  type: 'tun',
  gso: false,
  persistent: true,
});
export const up = (tag: string): VppObject => ({ kind: 'interface_flag', interface: tag, flag: 'admin_up' });
export const route = (prefix: string, tag?: string): VppObject => ({
  kind: 'route',
  source: 'node',
  table_id: 0,
  prefix,
  paths: [tag === undefined ? { via: 'drop' } : { via: 'interface', interface: tag, next_hop: '10.0.0.9' }],
});

/** So many different routes; `net` tells those of one owner from another's. */
export const routes = (count: number, net = 10): VppObject[] =>
  Array.from({ length: count }, (_, n) => route(`${net}.${n >> 16}.${(n >> 8) & 255}.${n & 255}/32`));
export const sentRoute = (n: number, net = 10): string =>
  `ip_route_add_del_v2 ${net}.${n >> 16}.${(n >> 8) & 255}.${n & 255}/32`;
