import { Faults, Fields, isRecord } from '../calico/fields.js';
import { node_annotation } from '../calico/kinds/node.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { backoffDelay } from '../supervision/backoff.js';
import { type ApiClient, ApiError } from './api-client.js';
import type { Cluster } from './cluster.js';

export interface NodeObjectOptions {
  readonly client: ApiClient;
  readonly node_name: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Gives [0, 1). */
  readonly random: () => number;
}

/** By annotation; null: there is to be none. */
type Wanted = Readonly<Record<string, string | null>>;
type Annotations = Readonly<Record<string, string>>;

/** What one question may take where nobody can wait. */
const question_ms = 5000;
const backoff = { first_ms: 200, max_ms: 30_000, jitter: 0.5 };

/** What is tried again soon is not answered otherwise. A node that is not there yet may come, and so may a role. */
const steady_statuses: readonly number[] = [400, 405, 422];

/** What the node asks of its own object in the Kubernetes API. */
export function nodeObject(
  options: NodeObjectOptions,
): Pick<Cluster, 'nodeAnnotations' | 'publishNodeAddresses' | 'publishWireguardKeys'> {
  const { client, clock, log, node_name, random } = options;
  const path = `/api/v1/nodes/${encodeURIComponent(node_name)}`;

  async function ask(
    method: 'GET' | 'PATCH',
    place: string,
    patch?: unknown,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const late = new AbortController();
    const timer = clock.after(question_ms, () => late.abort());
    try {
      return await client.document(method, place, {
        signal: signal === undefined ? late.signal : AbortSignal.any([late.signal, signal]),
        ...(patch !== undefined && { body: patch, content_type: 'application/merge-patch+json' }),
      });
    } catch (error) {
      if (late.signal.aborted)
        throw new ApiError(`${method} ${place}: no answer within ${question_ms / 1000} s`, 0);
      throw error;
    } finally {
      timer.cancel();
    }
  }

  async function publish(what: string, wanted: Wanted, signal: AbortSignal): Promise<void> {
    const node = await ask('GET', path, undefined, signal);
    const there = annotationsOf(node);
    const changes = Object.fromEntries(
      Object.entries(wanted).filter(([key, value]) => (there[key] ?? null) !== value),
    );
    if (Object.keys(changes).length === 0) return;
    const metadata = isRecord(node) && isRecord(node.metadata) ? node.metadata : {};
    // The version makes the server refuse (409) where somebody else has changed the node meanwhile.
    const patch = { metadata: { resourceVersion: metadata.resourceVersion, annotations: changes } };
    await ask('PATCH', `${path}/status`, patch, signal);
    log.info({ node: node_name, annotations: changes }, `k8s(node) ${what} are published`);
  }

  /** Tries for as long as it takes. `failing`: told of each time, and nothing is final. */
  async function insist(
    what: string,
    wanted: Wanted,
    signal: AbortSignal,
    failing: (cause: string) => void,
  ): Promise<void> {
    let told: string | undefined;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await publish(what, wanted, signal);
        return;
      } catch (error) {
        const { status, retry_after_ms } =
          error instanceof ApiError ? error : { status: 0, retry_after_ms: 0 };
        if (signal.aborted) throw error;
        const cause = (error as Error).message;
        failing(cause);
        if (cause !== told)
          log.warn(
            { node: node_name, attempt, cause },
            `k8s(node) ${what} are not published yet: it is tried again`,
          );
        told = cause;
        const least_ms = steady_statuses.includes(status) ? backoff.max_ms : retry_after_ms;
        await clock.sleep(Math.max(least_ms, backoffDelay(attempt, backoff, random)), signal);
      }
    }
  }

  return {
    async nodeAnnotations() {
      try {
        return annotationsOf(await ask('GET', path));
      } catch (error) {
        log.warn({ node: node_name, cause: (error as Error).message }, 'k8s(node) annotations are not known');
        return {};
      }
    },

    publishNodeAddresses: ({ ip4, ip6 }, signal, failing) =>
      insist(
        'addresses',
        { [node_annotation.ip4]: ip4 ?? null, [node_annotation.ip6]: ip6 ?? null },
        signal,
        failing,
      ),

    publishWireguardKeys: ({ key, key6 }, signal, failing) =>
      insist(
        'WireGuard keys',
        {
          [node_annotation.wireguard_key]: key ?? null,
          [node_annotation.wireguard_key6]: key6 ?? null,
        },
        signal,
        failing,
      ),
  };
}

function annotationsOf(node: unknown): Annotations {
  return new Fields(node, '', new Faults()).object('metadata').texts('annotations');
}
