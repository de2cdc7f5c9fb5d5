/** Packets through a topology: pings, a continuous prober that finds gaps, TCP and UDP between its namespaces. */

import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { waitedForCpuMs } from '../src/host/devices/sysfs.js';
import { patience } from './patience.js';
import type { Inside } from './site.js';
import type { Topology } from './topology.js';
import type { AgentRequest, TcpOutcome, UdpOutcome } from './traffic-agent.js';

const agent_program = fileURLToPath(new URL('traffic-agent.js', import.meta.url));
/** On top of what the request itself may take. */
const agent_deadline_ms = 60_000;

/** A process in one namespace that listens and sends. */
class Agent {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>();
  #last = 0;

  constructor(topology: Inside, name: string) {
    const argv = [process.execPath, agent_program, name];
    this.#child = topology.spawn(name, argv, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', ({ id, answer, error }: { id: number; answer?: unknown; error?: string }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(`${name}: ${error}`));
    });
    this.#child.once('exit', () => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`${name}: the traffic agent has ended`));
      this.#waiting.clear();
    });
  }

  ask<T>(request: AgentRequest): Promise<T> {
    this.#last += 1;
    const id = this.#last;
    const limit_ms = agent_deadline_ms + ('deadline_ms' in request ? request.deadline_ms : 0);
    return new Promise<T>((resolve, reject) => {
      const late = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`${request.do}: no answer within ${limit_ms} ms`));
      }, limit_ms);
      const settle = <A>(run: (value: A) => void) => {
        return (value: A): void => {
          clearTimeout(late);
          run(value);
        };
      };
      this.#waiting.set(id, {
        resolve: settle(resolve as (answer: unknown) => void),
        reject: settle(reject),
      });
      this.#child.send({ id, request });
    });
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}

export interface Transfer extends TcpOutcome {
  /** All bytes arrived, in order. */
  readonly whole: boolean;
  readonly mbit_s: number;
}

/** What a prober has seen. */
export interface ProbeReport {
  readonly sent: number;
  readonly received: number;
  /** Numbers that were sent before the last answered one and never answered. */
  readonly lost: number;
  /** The longest time between two answers, or between the last one and the end. */
  readonly longest_gap_ms: number;
  /** The same, each less the time for which the process that waited most had no CPU meanwhile, of those that were named. */
  readonly longest_stall_ms: number;
}

export interface ProbeOptions {
  /**
   * Processes that packets go through. Each turn of a VPP that sleeps between two of them waits for a CPU, on a busy machine for hundreds of milliseconds
   * (docs/vpp-notes.md).
   */
  readonly through?: readonly number[];
}

export interface Prober {
  /** Resolves when an answer to a probe sent after now has come; rejects after the deadline, with patience. Answers the time it took. */
  untilAnswered(deadline_ms: number): Promise<number>;
  stop(): Promise<ProbeReport>;
}

export const probe_interval_ms = 10;
/** Of what ping says beside answers: its summary is the end of it. */
const summary_chars_max = 10_000;

export class Traffic {
  readonly #topology: Inside;
  readonly #agents = new Map<string, Agent>();
  readonly #listening = new Set<string>();

  constructor(topology: Inside) {
    this.#topology = topology;
  }

  /** Forgets what listens in a namespace: it is going away, or is another one by now. */
  forget(name: string): void {
    this.#agents.get(name)?.end();
    this.#agents.delete(name);
    for (const key of [...this.#listening]) if (key.startsWith(`${name} `)) this.#listening.delete(key);
  }

  close(): void {
    for (const name of [...this.#agents.keys()]) this.forget(name);
  }

  /**
   * How many of `count` echo requests were answered. With a deadline of its own ping waits for late answers, and goes on asking meanwhile;
   * without one it takes a last answer for lost that comes later than twice the others.
   */
  async ping(
    from: string,
    target: string,
    { count = 3, size = 56, wait_s = 1 }: { count?: number; size?: number; wait_s?: number } = {},
  ): Promise<number> {
    const interval_s = 0.02;
    const deadline_s = Math.ceil(wait_s + count * interval_s);
    const argv = [
      'ping',
      '-n',
      '-c',
      `${count}`,
      '-i',
      `${interval_s}`,
      '-w',
      `${deadline_s}`,
      '-s',
      `${size}`,
      target,
    ];
    const child = this.#topology.spawn(from, argv, { stdio: ['ignore', 'pipe', 'ignore'] });
    const answered = [...(await output(child)).matchAll(/icmp_seq=(\d+) .*time=/g)].map(([, seq]) =>
      Number(seq),
    );
    return new Set(answered.filter((seq) => seq <= count)).size;
  }

  /** Pings until one is answered. Answers the time it took; throws after the deadline, with patience. */
  async untilReachable(from: string, target: string, deadline_ms: number): Promise<number> {
    const prober = this.probe(from, target);
    try {
      return await prober.untilAnswered(deadline_ms);
    } finally {
      await prober.stop();
    }
  }

  /** An echo request every 10 ms until stopped. */
  probe(from: string, target: string, { through = [] }: ProbeOptions = {}): Prober {
    const argv = ['ping', '-n', '-D', '-i', `${probe_interval_ms / 1000}`, target];
    const child = this.#topology.spawn(from, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    const began = performance.now();
    let last_at = began;
    let last_seq = 0;
    let received = 0;
    let longest = 0;
    let longest_stall = 0;
    const waits = (): readonly number[] => through.map((pid) => waitedForCpuMs(pid));
    let last_waits = waits();
    const passed = (now: number): void => {
      const now_waits = waits();
      const waited = now_waits.map((waited_ms, at) => waited_ms - last_waits[at]!);
      longest = Math.max(longest, now - last_at);
      longest_stall = Math.max(longest_stall, now - last_at - Math.max(0, ...waited));
      last_at = now;
      last_waits = now_waits;
    };
    let summary = '';
    /** The last that ping has said in place of an answer: who has refused, or why it has ended. */
    let last_words = '';
    let has_ended = false;
    const waiting = new Set<() => void>();
    createInterface({ input: child.stderr! }).on('line', (line) => {
      last_words = line;
    });
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const seq = /icmp_seq=(\d+) .*time=/.exec(line)?.[1];
      if (seq === undefined) {
        summary = `${summary}${line}\n`.slice(-summary_chars_max);
        if (line.includes('icmp_seq')) last_words = line;
        return;
      }
      passed(performance.now());
      received += 1;
      last_seq = Math.max(last_seq, Number(seq));
      for (const wake of waiting) wake();
    });
    const closed = new Promise<void>((resolve) => {
      child.once('close', () => {
        has_ended = true;
        resolve();
      });
    });
    const silence = (): string =>
      [`${received} answers before`, has_ended && 'ping has ended', last_words].filter(Boolean).join('; ');
    return {
      untilAnswered(deadline_ms) {
        const asked = performance.now();
        return new Promise((resolve, reject) => {
          const late = setTimeout(() => {
            waiting.delete(wake);
            reject(
              new Error(
                `${from}: ${target} has not answered for ${deadline_ms * patience} ms (${silence()})`,
              ),
            );
          }, deadline_ms * patience);
          const wake = (): void => {
            clearTimeout(late);
            waiting.delete(wake);
            resolve(Math.round(performance.now() - asked));
          };
          waiting.add(wake);
        });
      },
      async stop() {
        passed(performance.now());
        child.kill('SIGINT');
        await closed;
        return {
          sent: Number(/(\d+) packets transmitted/.exec(summary)?.[1] ?? 0),
          received,
          lost: last_seq - received,
          longest_gap_ms: Math.round(longest),
          longest_stall_ms: Math.round(longest_stall),
        };
      },
    };
  }

  /** Bytes over TCP to a listener that is started where it is not there yet. */
  async tcp(
    from: string,
    to: string,
    address: string,
    {
      bytes = 1_000_000,
      port = 5001,
      listen_port = port,
      deadline_ms = 20_000 * patience,
      pause_ms,
    }: {
      bytes?: number;
      port?: number;
      listen_port?: number;
      deadline_ms?: number;
      pause_ms?: number;
    } = {},
  ): Promise<Transfer> {
    await this.#listen(to, { do: 'tcp_sink', address: anyOf(address), port: listen_port });
    const sent = await this.#agent(from).ask<TcpOutcome>({
      do: 'tcp_send',
      address,
      port,
      bytes,
      deadline_ms,
      ...(pause_ms !== undefined && { pause_ms }),
    });
    const whole = sent.receipt?.bytes === bytes && sent.receipt.checksum === sent.checksum;
    return { ...sent, whole, mbit_s: Math.round((bytes * 8) / 1000 / Math.max(1, sent.ms)) };
  }

  /** Questions and answers over UDP, one after the other. */
  async udp(
    from: string,
    to: string,
    address: string,
    {
      port = 53,
      listen_port = port,
      count = 5,
      wait_ms = 500,
      pause_ms,
      source,
    }: {
      port?: number;
      listen_port?: number;
      count?: number;
      wait_ms?: number;
      pause_ms?: number;
      source?: string;
    } = {},
  ): Promise<UdpOutcome> {
    await this.#listen(to, { do: 'udp_answer', address: anyOf(address), port: listen_port });
    return this.#agent(from).ask<UdpOutcome>({
      do: 'udp_ask',
      address,
      port,
      count,
      wait_ms,
      ...(pause_ms !== undefined && { pause_ms }),
      ...(source !== undefined && { source }),
    });
  }

  /** Takes connections and datagrams of both families on this port from now on, as `tcp` and `udp` do. */
  async serve(name: string, port: number): Promise<void> {
    for (const address of ['0.0.0.0', '::']) {
      await this.#listen(name, { do: 'tcp_sink', address, port });
      await this.#listen(name, { do: 'udp_answer', address, port });
    }
  }

  /** A few bytes over TCP to whoever answers at this address. */
  connect(
    from: string,
    address: string,
    port: number,
    { bytes = 10, deadline_ms = 2000 }: { bytes?: number; deadline_ms?: number } = {},
  ): Promise<TcpOutcome> {
    return this.#agent(from).ask({ do: 'tcp_send', address, port, bytes, deadline_ms });
  }

  /** Questions over UDP to whoever answers at this address. */
  ask(
    from: string,
    address: string,
    port: number,
    {
      count = 5,
      wait_ms = 500,
      source_port,
      bytes,
      answer_bytes,
    }: { count?: number; wait_ms?: number; source_port?: number; bytes?: number; answer_bytes?: number } = {},
  ): Promise<UdpOutcome> {
    return this.#agent(from).ask({
      do: 'udp_ask',
      address,
      port,
      count,
      wait_ms,
      ...(source_port !== undefined && { source_port }),
      ...(bytes !== undefined && { bytes }),
      ...(answer_bytes !== undefined && { answer_bytes }),
    });
  }

  /** From whom a listener of `udp` has had datagrams. */
  senders(at: string, port = 53): Promise<readonly string[]> {
    return this.#agent(at).ask({ do: 'udp_senders', port });
  }

  #agent(name: string): Agent {
    let agent = this.#agents.get(name);
    if (agent === undefined) {
      agent = new Agent(this.#topology, name);
      this.#agents.set(name, agent);
    }
    return agent;
  }

  async #listen(
    name: string,
    request: Extract<AgentRequest, { do: 'tcp_sink' | 'udp_answer' }>,
  ): Promise<void> {
    const key = `${name} ${request.do} ${request.address} ${request.port}`;
    if (this.#listening.has(key)) return;
    this.#listening.add(key);
    await this.#agent(name).ask(request);
  }
}

/** Listeners take every address of the family, so that translated packets reach them too. */
function anyOf(address: string): string {
  return address.includes(':') ? '::' : '0.0.0.0';
}

async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout!.on('data', (chunk) => {
    text += chunk;
  });
  await new Promise((resolve) => child.once('close', resolve));
  return text;
}

type Json = Record<string, unknown>;

export type IpState = Readonly<Record<string, readonly string[]>>;

/** What `ip` says of links, addresses, routes of all tables and rules: two are equal when Linux is the same. */
export function ipState(topology: Pick<Topology, 'lab'>, name: string): IpState {
  const ask = (...argv: string[]): Json[] => JSON.parse(topology.lab.run(name, 'ip', '-j', ...argv) || '[]');
  const told = (entries: Json[]): string[] => entries.map((entry) => JSON.stringify(entry));
  return {
    links: told(ask('-d', 'link')),
    addresses: told(ask('addr')),
    routes4: told(ask('-4', 'route', 'show', 'table', 'all')).sort(),
    routes6: told(ask('-6', 'route', 'show', 'table', 'all')).sort(),
    rules4: told(ask('-4', 'rule')),
    rules6: told(ask('-6', 'rule')),
    neighbours: told(ask('neigh', 'show', 'nud', 'permanent')),
  };
}

/** Waits until `ip` says the same again: Linux tells of a carrier up to a second late. Answers what differs in the end. */
export async function ipStateIs(
  topology: Pick<Topology, 'lab'>,
  name: string,
  before: IpState,
  deadline_ms = 3000 * patience,
): Promise<string[]> {
  const deadline = performance.now() + deadline_ms;
  for (;;) {
    const now = ipState(topology, name);
    const differs = Object.keys(before).flatMap((part) => [
      ...(before[part] ?? []).filter((line) => !now[part]?.includes(line)).map((line) => `${part} - ${line}`),
      ...(now[part] ?? []).filter((line) => !before[part]?.includes(line)).map((line) => `${part} + ${line}`),
    ]);
    if (differs.length === 0 || performance.now() > deadline) return differs;
    await sleep(50);
  }
}
