import { readFile } from 'node:fs/promises';
import { Agent, type AgentOptions, type RequestOptions } from 'node:https';
import { isIPv6 } from 'node:net';

/** How the API server is reached, and as whom. */
export interface Access {
  /** Without path. Known once there are options. */
  readonly server: URL;
  /** Connection and credentials of one request: read anew, since they expire. Rejects with AccessError. */
  options(): Promise<RequestOptions>;
}

/** What it takes to reach the API server is not there, or of no use. Its text holds no credential. */
export class AccessError extends Error {
  override readonly name = 'AccessError';
}

/** Where the kubelet puts a pod's service account. */
const service_account_directory = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Watches stay open, one for each kind and each Secret. */
const sockets_max = 256;
const keep_alive_ms = 30_000;

function pooled(options: AgentOptions): Agent {
  return new Agent({
    ...options,
    keepAlive: true,
    keepAliveMsecs: keep_alive_ms,
    maxSockets: sockets_max,
    maxFreeSockets: 2,
  });
}

async function readSmall(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new AccessError(
      `${path} cannot be read (${(error as NodeJS.ErrnoException).code}): let the pod mount the token of its service account`,
    );
  }
}

/**
 * The service account of this pod. The kubelet replaces the token long before it expires, and the CA's file with its CA: both
 * are read for each request, of which there are few. Throws AccessError outside of a pod.
 */
export function inClusterAccess(
  environment: Readonly<Record<string, string | undefined>>,
  directory = service_account_directory,
): Access {
  const host = environment.KUBERNETES_SERVICE_HOST;
  const port = environment.KUBERNETES_SERVICE_PORT;
  if (!host || !port)
    throw new AccessError(
      'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod of a cluster',
    );
  const url = `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
  if (!URL.canParse(url))
    throw new AccessError(`KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT make no address: ${url}`);
  let pool: { readonly ca: string; readonly agent: Agent } | undefined;
  return {
    server: new URL(url),
    async options() {
      const [token, ca] = await Promise.all([
        readSmall(`${directory}/token`),
        readSmall(`${directory}/ca.crt`),
      ]);
      if (!/^[\x21-\x7e]+\s*$/.test(token)) throw new AccessError(`${directory}/token holds no token`);
      // Requests under way keep the sockets of the old one.
      if (pool?.ca !== ca) pool = { ca, agent: pooled({ ca }) };
      return { agent: pool.agent, headers: { authorization: `Bearer ${token.trim()}` } };
    },
  };
}

/** Access that is looked for with each request until it is there: a file that is wrong, or not there yet, may be corrected. */
export function laterAccess(load: () => Promise<Access>): Access {
  let found: Access | undefined;
  return {
    get server() {
      if (found === undefined) throw new AccessError('the API server is not known yet');
      return found.server;
    },
    async options() {
      found ??= await load();
      return found.options();
    },
  };
}
