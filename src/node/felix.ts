/** The felix actor: its socket, the driver that Felix starts, the files that the CNI plugin waits for. */
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FelixDeps, felixActor } from '../actors/felix.js';
import { isStatusFileName } from '../felix/status-file.js';
import type { FelixSocket, SocketEvents } from '../felix/stream.js';
import { installProgram } from '../host/install-program.js';
import { StatusFiles } from '../host/status-files.js';
import { listenUnix } from '../host/unix-socket.js';
import type { Wiring } from './wiring.js';

/** Beside `out`, in the image as in a checkout. */
const built_driver = fileURLToPath(new URL('../../../native/felix-api-proxy', import.meta.url));
/** Root alone may connect: Felix runs as root, and who can speak here rules all policies of the node. */
const socket_mode = 0o600;

export function felixOf(
  { parts, sync }: Pick<Wiring, 'parts' | 'sync'>,
  connectivity: FelixDeps['connectivity'],
) {
  const { felix_socket, felix_plugins_dir, endpoint_status_dir } = parts.config.paths;
  const driver = join(felix_plugins_dir, 'felix-api-proxy');
  return felixActor(
    {
      listen: (accept, failed) => listenFelix(felix_socket, accept, failed),
      install: async () => installed_as[await installProgram(built_driver, driver)](driver),
      files: new StatusFiles(endpoint_status_dir, isStatusFileName),
      connectivity,
      report: (status) => sync.set('felix', status),
    },
    { socket_path: felix_socket },
  );
}

const installed_as = {
  installed: (path: string) => `${path} is installed`,
  replaced: (path: string) => `${path} is installed in the place of another`,
  identical: (path: string) => `${path} is the one of this release`,
};

/** Of those that say nothing: they keep no others out. Of those that speak the newest alone stays. */
const silent_max = 32;

/** See `FelixDeps.listen`. Its end is that of all connections. */
export async function listenFelix(
  path: string,
  ...[accept, failed]: Parameters<FelixDeps['listen']>
): ReturnType<FelixDeps['listen']> {
  const sockets = new Set<Socket>();
  const silent = new Set<Socket>();
  const take = (socket: Socket): void => {
    sockets.add(socket);
    silent.add(socket);
    socket.once('readable', () => silent.delete(socket));
    socket.once('close', () => {
      sockets.delete(socket);
      silent.delete(socket);
    });
    connectTo(socket, accept);
    const [oldest] = silent;
    if (silent.size > silent_max) oldest?.destroy();
  };
  const server = await listenUnix(path, socket_mode, take, failed);
  return {
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function connectTo(socket: Socket, accept: (socket: FelixSocket) => SocketEvents): void {
  const { readable, drained, closed } = accept({
    read: () => socket.read(),
    write: (bytes) => socket.write(bytes),
    close: () => void socket.destroy(),
  });
  let reason: string | undefined;
  socket.on('readable', () => {
    if (socket.readableLength > 0) readable();
    // Its end, of which nobody hears who does not read up to it.
    else socket.read();
  });
  socket.on('drain', drained);
  socket.on('error', (error) => {
    reason = error.message;
  });
  socket.once('close', () => closed(reason));
}
