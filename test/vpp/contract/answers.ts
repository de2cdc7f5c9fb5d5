/** Asks a VPP what a sequence says and writes down what it answers, as text in which nothing differs from run to run. */
import { type Client, connect, RetvalError, type Transport } from 'vpp-binapi-ts';
import { fib_source_add, fib_source_dump } from 'vpp-binapi-ts/fib';
import { isOwn, namespace_placeholder, own, type Sequence, type Step, traffic } from './steps.js';

/** Where a sequence is carried out. */
export interface Place {
  readonly transport: Transport;
  /** Path of the pod's network namespace. */
  readonly namespace: string;
  /** Sends packets into VPP from the pod's device. */
  sendPackets(): void;
}

/** `> ` and what was asked, then `< ` and what was answered, a line each. */
export async function answers(place: Place, { steps, spins }: Sequence): Promise<string[]> {
  const client = await connect({ transport: place.transport, name: 'contract', deadline_ms: 10_000 });
  // The client's deadlines do not keep a process alive, and a connection in memory does not either.
  const alive = setInterval(() => {}, 60_000);
  const asker = new Asker(client, place.namespace);
  const said: string[] = [];
  for (const step of steps) {
    if (step === traffic) {
      place.sendPackets();
      continue;
    }
    const lines = await asker.ask(step, spins === true);
    said.push(
      `> ${step.message.name} ${normal(step.fields, namespace_placeholder)}`,
      ...lines.map((line) => `< ${line}`),
    );
    if (spins && lines[0] === no_answer) break;
  }
  clearInterval(alive);
  client.close();
  return said;
}

const no_answer = 'no answer';
const patience_ms = { unanswered: 300, spins: 2000 } as const;

/** Entries that VPP makes for itself to follow recursive next hops and cnat clients; the stand-in has none. */
const internal_sources = [18, 23];
/** VPP's own ones end here; then come those of the plugins that it happens to have. */
const common_sources_last = 21;

class Asker {
  readonly #client: Client;
  readonly #namespace: string;
  /** VPP's numbers of the FIB sources that were made. */
  readonly #sources: number[] = [];

  constructor(client: Client, namespace: string) {
    this.#client = client;
    this.#namespace = namespace;
  }

  async ask({ message, fields, unanswered }: Step, spins: boolean): Promise<string[]> {
    const asked = this.#asked(fields);
    const options = unanswered
      ? { deadline_ms: patience_ms.unanswered }
      : spins
        ? { deadline_ms: patience_ms.spins }
        : {};
    const text = (value: unknown): string => normal(this.#shown(value), this.#namespace);
    try {
      if (message.kind === 'dump') {
        const found = (await this.#client.dump(message, asked as never, options)) as unknown[];
        const said = found.filter((details) => !this.#isInternal(message, details)).map(text);
        return said.sort();
      }
      if (message.kind === 'stream') {
        const { details, reply } = await this.#client.stream(message, asked as never, options);
        return [...details.map(text), text(reply)];
      }
      const reply = await this.#client.request(message, asked as never, options);
      if (message.name === fib_source_add.name) this.#sources.push((reply as { id: number }).id);
      return [text(reply)];
    } catch (error) {
      if (error instanceof RetvalError) return [text(error.reply)];
      const { code } = error as { code?: string };
      return [code === 'disconnected' ? 'VPP is gone' : code === 'deadline' ? no_answer : String(error)];
    }
  }

  /** With VPP's numbers and this test's paths in place of those of the sequence. */
  #asked(fields: object): object {
    const asked = fields as { host_namespace?: unknown; src?: unknown; route?: { src?: number } };
    const real = (source: number): number => this.#sources[source - own(0)] ?? source;
    return {
      ...asked,
      ...(asked.host_namespace === namespace_placeholder && { host_namespace: this.#namespace }),
      ...(typeof asked.src === 'number' && { src: real(asked.src) }),
      ...(asked.route?.src !== undefined && { route: { ...asked.route, src: real(asked.route.src) } }),
    };
  }

  #shown(value: unknown): unknown {
    const { id, src, route, peer } = value as Shown;
    return {
      ...(value as object),
      ...(id !== undefined && { id: this.#sourceName(id) }),
      ...(src !== undefined && { src: { ...src, id: this.#sourceName(src.id) } }),
      ...(route?.src !== undefined && { route: { ...route, src: this.#sourceName(route.src) } }),
      // Of WireGuard's: nobody is there who could answer; in the stand-in all have.
      ...(peer !== undefined && { peer: { ...peer, flags: 0 } }),
    };
  }

  #sourceName(source: number): number {
    const at = this.#sources.indexOf(source);
    return at === -1 ? source : own(at);
  }

  #isInternal(message: unknown, details: unknown): boolean {
    const { src, route } = details as Shown;
    if (message === fib_source_dump && src !== undefined) {
      return src.id > common_sources_last && !isOwn(this.#sourceName(src.id));
    }
    const from = route?.src === undefined ? undefined : this.#sourceName(route.src);
    return from !== undefined && internal_sources.includes(from);
  }
}

interface Shown {
  readonly peer?: object;
  readonly id?: number;
  readonly src?: { readonly id: number };
  readonly route?: { readonly src?: number };
}

/** Counters and times: also those of advertisements that VPP sends meanwhile. */
const varying: ReadonlySet<string> = new Set([
  ...['stats_index', 'age', 'initial_adverts_sent', 'n_advertisements_sent', 'last_radv_time'],
  ...['last_multicast_time', 'next_multicast_time', 'valid_lifetime_expires', 'pref_lifetime_expires'],
]);

/** Without what differs between two runs (counters, ages, random MACs, paths of this test), and without fields that are zero. */
function normal(value: unknown, namespace: string): string {
  const shorten = function (this: unknown, key: string, field: unknown): unknown {
    if (varying.has(key)) return undefined;
    if (field instanceof Uint8Array)
      return Buffer.from(field)
        .toString('hex')
        .replace(/(00)+$/, '');
    if (typeof field === 'bigint') return field === 0n ? undefined : `${field}`;
    if (field === 0xffff_ffff) return '~0';
    const is_zero =
      field === 0 || field === false || field === '' || (Array.isArray(field) && field.length === 0);
    if (typeof field === 'bigint') return field === 0n ? undefined : `${field}`;
    return is_zero && !Array.isArray(this) ? undefined : field;
  };
  return JSON.stringify(value, shorten)
    .replaceAll(namespace, namespace_placeholder)
    .replace(/02:fe:[0-9a-f:]{11}/g, 'random')
    .replace(/fe80::fe:[0-9a-f:]+/g, 'random')
    .replaceAll('"', '');
}
