/** In the debug thread: listens where load balancers ask (services/health.ts), opened and closed by difference. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Clock } from '../clock.js';
import {
  type HealthAnswer,
  isServing,
  proxyAnswer,
  type ServicesHealth,
  serviceAnswer,
} from '../services/health.js';
import { Listener, type Note } from './listener.js';

export interface ServiceHealthDeps {
  readonly clock: Clock;
  /** `hrtime`, which all threads share. */
  readonly machine_ms: () => number;
  /** Since the main loop gave a sign of life. */
  readonly silent_ms: () => number;
  /** Of the services' ports; absent: every address of the host. */
  readonly host?: string;
  /** What cannot be listened on by now, by service; `node` is the node's own port. */
  readonly report: (faults: ReadonlyMap<string, string>) => void;
}

const connections_max = 64;
/** Of all ports. */
const all_connections_max = 2048;
const request_ms_max = 5000;
const keep_alive_ms = 5000;
const silent_ms_max = 10_000;

const proxy_key = 'node';
type Key = number | typeof proxy_key;

export class ServiceHealth {
  readonly #deps: ServiceHealthDeps;
  readonly #listeners = new Map<Key, Listener>();
  readonly #faults = new Map<Key, string>();
  #health: ServicesHealth | undefined;
  #services = new Map<Key, string>();
  #connections = 0;

  constructor(deps: ServiceHealthDeps) {
    this.#deps = deps;
  }

  /** In place of what was before. What stays goes on without a break. */
  set(health: ServicesHealth): void {
    this.#health = health;
    const { proxy } = health;
    const { host } = this.#deps;
    this.#services = new Map<Key, string>(health.ports.map(({ port, service }) => [port, service]));
    if (proxy !== undefined) this.#services.set(proxy_key, proxy_key);
    for (const [key, listener] of this.#listeners) {
      if (this.#services.has(key)) continue;
      listener.close();
      this.#listeners.delete(key);
      this.#faults.delete(key);
    }
    for (const key of this.#services.keys()) {
      if (this.#listeners.has(key)) continue;
      const address =
        key === proxy_key
          ? { kind: 'tcp' as const, ...proxy! }
          : { kind: 'tcp' as const, port: key, ...(host !== undefined && { host }) };
      const listener = new Listener(this.#server(key), address, this.#deps.clock, this.#note(key));
      this.#listeners.set(key, listener);
      void listener.start();
    }
    this.#report();
  }

  close(): void {
    for (const listener of this.#listeners.values()) listener.close();
    this.#listeners.clear();
  }

  #note(key: Key): Note {
    return (level, fields) => {
      if (!this.#listeners.has(key)) return;
      const before = this.#faults.get(key);
      if (level === 'info') this.#faults.delete(key);
      else
        this.#faults.set(key, faultText(key, fields as { readonly code?: string; readonly reason?: string }));
      if (this.#faults.get(key) !== before) this.#report();
    };
  }

  /** By the names that they have by now. */
  #report(): void {
    this.#deps.report(
      new Map(
        [...this.#faults].flatMap(([key, fault]) => {
          const service = this.#services.get(key);
          return service === undefined ? [] : [[service, fault] as const];
        }),
      ),
    );
  }

  #server(key: Key): Server {
    const server = createServer(
      { requestTimeout: request_ms_max, keepAliveTimeout: keep_alive_ms },
      (request, response) => {
        request.resume();
        this.#respond(key, request, response);
      },
    );
    server.setTimeout(silent_ms_max);
    server.maxConnections = connections_max;
    server.on('connection', (socket) => {
      this.#connections += 1;
      socket.once('close', () => {
        this.#connections -= 1;
      });
      if (this.#connections > all_connections_max) socket.destroy();
    });
    return server;
  }

  #respond(key: Key, { method, url = '' }: IncomingMessage, response: ServerResponse): void {
    const answer = this.#answer(key, url.split('?', 1)[0]!);
    const body = answer?.body ?? '';
    response.writeHead(answer?.status ?? 404, {
      ...answer?.headers,
      'content-length': Buffer.byteLength(body),
    });
    response.end(method === 'HEAD' ? undefined : body);
  }

  #answer(key: Key, path: string): HealthAnswer | undefined {
    const { clock, machine_ms, silent_ms } = this.#deps;
    const health = this.#health!;
    const now_ms = machine_ms();
    const silent = silent_ms();
    const is_serving = isServing(health, now_ms, silent);
    if (key !== proxy_key) {
      const port = health.ports.find((each) => each.port === key);
      return port && serviceAnswer(port, is_serving);
    }
    const wall_ms = clock.wall_ms();
    const behind_ms = is_serving ? 0 : Math.max(silent, now_ms - (health.pending_since_ms ?? now_ms));
    const last_ms = health.is_whole ? wall_ms - behind_ms : undefined;
    return proxyAnswer(path, health, is_serving, { now_ms: wall_ms, last_ms });
  }
}

function faultText(
  key: Key,
  { code, reason = '' }: { readonly code?: string; readonly reason?: string },
): string {
  if (key === proxy_key)
    return code === 'EADDRINUSE'
      ? 'its health port is in use, as by a kube-proxy on this node, which answers there'
      : `its health port is not served: ${reason}`;
  return code === 'EADDRINUSE'
    ? `healthCheckNodePort ${key} is in use on this node, as by kube-proxy: it is tried again`
    : `healthCheckNodePort ${key} is not served, and tried again: ${reason}`;
}
