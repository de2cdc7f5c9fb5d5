import type { Test } from 'tap';
import { type CalicoVersion, calicoCrds } from '../../lab/k8s/calico-crds.js';
import { StandInApiServer, type StandInOptions } from '../../lab/k8s/server.js';
import type { Json } from '../../lab/k8s/store.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { Kind } from '../../src/calico/kinds/kind.js';
import type { Access } from '../../src/k8s/access.js';
import { ApiClient } from '../../src/k8s/api-client.js';
import { Discovery } from '../../src/k8s/discovery.js';
import { type Change, Reflector } from '../../src/k8s/reflector.js';
import type { Log } from '../../src/log.js';

export interface Line {
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** A log that keeps what it is told. */
export function recordingLog(): { readonly lines: Line[]; readonly log: Log } {
  const lines: Line[] = [];
  const at = (level: string) => (fields: object, text: string) => {
    lines.push({ level, fields: fields as Line['fields'], text });
  };
  const log: Log = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    child: () => log,
  };
  return { lines, log };
}

/** Real time that anything on loopback gets before a test gives up. */
const patience_ms = 60_000;

/** Turns the event loop until it holds. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + patience_ms;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`never seen: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Turns the clock by `step_ms` until it holds; answers the time that passed on it. */
export async function untilTurned(
  clock: TurnedClock,
  what: string,
  holds: () => boolean,
  step_ms = 50,
): Promise<number> {
  const begin_ms = clock.now_ms();
  const end = performance.now() + patience_ms;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`never seen: ${what}`);
    await clock.advance(step_ms);
  }
  return clock.now_ms() - begin_ms;
}

export interface LabOptions extends StandInOptions {
  readonly versions?: readonly CalicoVersion[];
  readonly without?: readonly string[];
  /** The one version to use. */
  readonly only?: string;
  /** 0 when absent: no delay is cut short. */
  readonly random?: () => number;
}

/** A stand-in API server and the real client. */
export async function startLab(t: Test, options: LabOptions = {}) {
  const clock = new TurnedClock();
  const { lines, log } = recordingLog();
  const server = new StandInApiServer({ clock, ...options });
  await server.start();
  for (const version of options.versions ?? ['crd.projectcalico.org/v1'])
    for (const definition of calicoCrds(version as CalicoVersion, options.without)) server.put(definition);
  const access: Access = { server: new URL(server.url), options: async () => ({}) };
  const client = new ApiClient(access, clock);
  const discovery = new Discovery(client, options.only);
  const reflectors: { stop(): Promise<void> }[] = [];
  t.teardown(async () => {
    for (const reflector of reflectors) await reflector.stop();
    await server.stop();
  });

  function reflect<T>(kind: Kind<T>, deliver?: (change: Change<T>) => void | Promise<void>) {
    const changes: Change<T>[] = [];
    /** What a receiver holds that takes in every change. */
    const held = new Map<string, T>();
    const reflector = new Reflector<T>({
      kind,
      client,
      discovery,
      clock,
      log,
      random: options.random ?? (() => 0),
      deliver(change) {
        changes.push(change);
        for (const [key, value] of change.changed) {
          if (value === undefined) held.delete(key);
          else held.set(key, value);
        }
        return deliver?.(change);
      },
    });
    reflectors.push(reflector);
    reflector.start();
    return { reflector, changes, held, isSynced: () => changes.at(-1)?.synced === true };
  }

  const asked = (verb: string) => server.requests.filter((request) => request.verb === verb);
  return { clock, lines, log, server, client, discovery, reflect, asked };
}

export const pool = (name: string, cidr: string, more: Json = {}): Json => ({
  apiVersion: 'crd.projectcalico.org/v1',
  kind: 'IPPool',
  metadata: { name },
  spec: { cidr, ...more },
});
