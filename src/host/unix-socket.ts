/** A Unix socket that a process of the node listens on: where an earlier life has left its own, where somebody else sits. */
import { chmod, lstat, mkdir, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { errorCode } from './files.js';

/** sockaddr_un less the terminator: a longer path would be cut without a word. */
const socket_path_bytes_max = 107;

/** Makes `path` free to bind: creates its directory, and removes the socket that a dead process left there. Rejects with path, cause and step. */
export async function claimSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > socket_path_bytes_max) {
    throw new Error(
      `${path} is longer than the ${socket_path_bytes_max} bytes of a socket's path: configure another path`,
    );
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  const found = await lstat(path).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${path} is not a socket: remove it, or configure another path`);
  if (await answers(path)) throw new Error(`${path} is served by another process: stop it first`);
  await rm(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (result: boolean) => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', () => settle(true));
    // A full backlog (EAGAIN) has a listener behind it; only a refusal proves that there is none.
    socket.once('error', (error) => settle(errorCode(error) !== 'ECONNREFUSED'));
  });
}

/**
 * Listens on `path` with these permissions. `accept` is handed each connection; `failed` an end of the listening that nobody asked for. Rejects,
 * naming the path and the step to take, when the socket cannot be had.
 */
export async function listenUnix(
  path: string,
  mode: number,
  accept: (socket: Socket) => void,
  failed: (error: Error) => void,
): Promise<Server> {
  await claimSocket(path);
  const server = createServer(accept);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new Error(`cannot listen on ${path}: ${error.message}`, { cause: error })),
    );
    server.listen(path, resolve);
  });
  server.removeAllListeners('error');
  server.on('error', failed);
  try {
    await chmod(path, mode);
  } catch (error) {
    server.close();
    throw error;
  }
  return server;
}
