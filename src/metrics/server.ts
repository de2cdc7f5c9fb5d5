/** The endpoint that Prometheus scrapes. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Exposition, Format } from './exposition.js';

/** Scrapers are few. */
const connections_max = 16;
const request_ms_max = 5000;
const silent_ms_max = 30_000;

/** OpenMetrics where it is asked for by name, as Prometheus does. */
export const formatFor = (accept: string): Format =>
  /\bapplication\/openmetrics-text\b/.test(accept) ? 'openmetrics' : 'text';

async function answer(
  { method = '', url = '', headers }: IncomingMessage,
  response: ServerResponse,
  scrape: (format: Format) => Promise<Exposition>,
): Promise<void> {
  const say = (status: number, type: string, body: string, more: Record<string, string> = {}): void => {
    response.writeHead(status, {
      'content-type': type,
      'content-length': Buffer.byteLength(body),
      'x-content-type-options': 'nosniff',
      ...more,
    });
    response.end(method === 'HEAD' ? undefined : body);
  };
  const plain = 'text/plain; charset=utf-8';
  if (method !== 'GET' && method !== 'HEAD')
    return say(405, plain, `${method} is not served: use GET\n`, { allow: 'GET, HEAD' });
  if (url.split('?', 1)[0] !== '/metrics') return say(404, plain, 'metrics are at /metrics\n');
  try {
    const { content_type, body } = await scrape(formatFor(headers.accept ?? ''));
    say(200, content_type, body);
  } catch (error) {
    say(500, plain, `no metrics: ${(error as Error).message}\n`);
  }
}

/** It still has to listen. */
export function metricsServer(scrape: (format: Format) => Promise<Exposition>): Server {
  const server = createServer({ requestTimeout: request_ms_max }, (request, response) => {
    // A body is of no use; what is not read would block the connection.
    request.resume();
    void answer(request, response, scrape);
  });
  server.setTimeout(silent_ms_max);
  server.maxConnections = connections_max;
  return server;
}
