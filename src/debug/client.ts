import { request } from 'node:http';

export interface Fetched {
  readonly status: number;
  readonly body: string;
}

/** Nobody answers at the debug socket. The message says what to do. */
export class DebugUnreachable extends Error {
  override readonly name = 'DebugUnreachable';
}

const WITHIN_MS = 5000;
const BODY_BYTES_MAX = 32 * 1024 * 1024;

const steps: Readonly<Record<string, string>> = {
  ENOENT:
    'there is no such socket: is calico-vpp-node running here, and is this its socket? Name another one with --socket',
  ECONNREFUSED: 'nobody listens: calico-vpp-node has died, or is just starting',
  EACCES: 'permission is denied: the socket belongs to root',
};

/** Asks the debug endpoint of a running node over its Unix socket. Rejects with DebugUnreachable, at the latest after 5 s. */
export function fetchDebug(socket: string, path: string, accept = 'application/json'): Promise<Fetched> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      const step = steps[error.code ?? ''] ?? error.message;
      reject(new DebugUnreachable(`${socket}: ${step}`, { cause: error }));
    };
    const call = request(
      { socketPath: socket, path, headers: { accept }, agent: false, signal: AbortSignal.timeout(WITHIN_MS) },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > BODY_BYTES_MAX) response.destroy(new Error('the answer is too long'));
          else chunks.push(chunk);
        });
        response.on('error', fail);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
        );
      },
    );
    call.on('error', fail);
    call.end();
  });
}
