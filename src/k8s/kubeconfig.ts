import type { RequestOptions } from 'node:https';
import { type Access, AccessError } from './access.js';

/**
 * A kubeconfig file, for people: contexts, certificates, tokens and the programs that make tokens are the client library's. It
 * is loaded here and not before: it takes 80 MB. Proxies are not supported. Rejects with AccessError.
 */
export async function kubeconfigAccess(path: string, context?: string): Promise<Access> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  try {
    config.loadFromFile(path);
  } catch (error) {
    throw new AccessError(`kubeconfig ${path} cannot be read (${safeReason(error)}): correct the file`);
  }
  if (context !== undefined) config.setCurrentContext(context);
  const cluster = config.getCurrentCluster();
  if (cluster === null || !URL.canParse(cluster.server))
    throw new AccessError(
      `kubeconfig ${path} has no cluster for its context ${config.getCurrentContext()}: set current-context`,
    );
  return {
    server: new URL(cluster.server),
    async options() {
      const options: RequestOptions = {};
      try {
        await config.applyToHTTPSOptions(options);
      } catch (error) {
        throw new AccessError(
          `kubeconfig ${path} gives no credentials (${safeReason(error)}): correct the user`,
        );
      }
      return options;
    },
  };
}

/** The library's own words quote the file, or what a program printed, tokens included. */
function safeReason(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: unknown };
  return typeof code === 'string' ? code : typeof name === 'string' ? name : 'unknown';
}
