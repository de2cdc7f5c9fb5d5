import { createServer, type Server } from 'node:http';
import { respond, type Source, type Surface } from './routes.js';

/** People and probes, not load: more connections than this are refused. */
const CONNECTIONS_MAX = 64;
const REQUEST_MS_MAX = 5000;
const KEEP_ALIVE_MS = 5000;
/** For a client that does not read. */
const SILENT_MS_MAX = 30_000;

/** An HTTP server of one surface; it still has to listen. */
export function debugServer(surface: Surface, source: Source): Server {
  const server = createServer(
    { requestTimeout: REQUEST_MS_MAX, keepAliveTimeout: KEEP_ALIVE_MS },
    (request, response) => {
      // A body is of no use; what is not read would block the connection.
      request.resume();
      const { method = '', url = '', headers } = request;
      // Asked of a Unix socket, too: `ssh -L` makes a port of it, to which a browser can be led.
      const by_socket = request.socket.remoteAddress === undefined;
      const host = headers.host ?? (by_socket ? undefined : '');
      const asked = { method, url, accept: headers.accept ?? '', ...(host !== undefined && { host }) };
      void respond(asked, surface, source).then((answer) => {
        response.writeHead(answer.status, {
          'content-type': answer.type,
          'content-length': Buffer.byteLength(answer.body),
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
          ...answer.headers,
        });
        response.end(method === 'HEAD' ? undefined : answer.body);
      });
    },
  );
  server.setTimeout(SILENT_MS_MAX);
  server.maxConnections = CONNECTIONS_MAX;
  return server;
}
