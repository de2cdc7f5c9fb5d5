import { connect, type Socket } from 'node:net';
import { TelnetReader, terminalType, windowSize } from './telnet.js';

/** VPP's command line cannot be reached, or did not answer in time. The message says what to do. */
export class VppCliError extends Error {
  override readonly name = 'VppCliError';
}

const steps: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket: is VPP running here? Name another one with --socket',
  ECONNREFUSED: 'nobody listens: VPP has died',
  EACCES: 'permission is denied: the socket belongs to root',
};

const unreachable = (path: string, error: NodeJS.ErrnoException): VppCliError =>
  new VppCliError(`${path}: ${steps[error.code ?? ''] ?? error.message}`, { cause: error });

/** VPP ends answers with NUL; no text of it has one. */
const withoutNul = (text: Buffer): Buffer => Buffer.from(text.filter((byte) => byte !== 0));

/**
 * Runs commands one after the other on VPP's command line socket; their output goes to `write` as it comes. Resolves when
 * VPP has closed the connection after the last one; rejects with VppCliError, also when VPP is silent for `silent_ms`.
 *
 * VPP is told its terminal type first, so that it neither prompts nor echoes. It then ends the output of each command with
 * a NUL; a command that is sent before that one would be read as more words of it.
 */
export function runVppCommands(
  path: string,
  commands: readonly string[],
  write: (output: Buffer) => void,
  silent_ms: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const telnet = new TelnetReader();
    const left = [...commands];
    let greeted = false;
    let quitting = false;
    const next = (): void => {
      const command = left.shift();
      quitting = command === undefined;
      socket.write(`${command ?? 'quit'}\n`);
    };
    socket.setTimeout(silent_ms, () =>
      socket.destroy(
        new VppCliError(`${path}: VPP has been silent for ${silent_ms} ms: its main thread is busy or stuck`),
      ),
    );
    socket.on('data', (chunk) => {
      const { text, inquiries } = telnet.read(chunk);
      const output = withoutNul(text);
      if (output.length > 0) write(output);
      if (!greeted && inquiries.includes('terminal_type')) {
        greeted = true;
        socket.write(terminalType('vppctl'));
        next();
      } else if (greeted && !quitting && output.length < text.length) next();
    });
    socket.on('error', (error) => reject(error instanceof VppCliError ? error : unreachable(path, error)));
    socket.on('close', (had_error) => {
      if (had_error) return;
      if (quitting) resolve();
      else reject(new VppCliError(`${path}: VPP closed the connection before it had answered`));
    });
  });
}

/** The terminal that a person sits at. */
export interface Terminal {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
  readonly type: string;
}

/** Joins a terminal and VPP's command line until VPP closes the connection. Rejects with VppCliError. */
export function joinVppCli(path: string, { input, output, type }: Terminal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(path);
    const telnet = new TelnetReader();
    const onResize = (): void => void socket.write(windowSize(output.columns, output.rows));
    const onInput = (chunk: Buffer): void => void socket.write(chunk);
    socket.on('connect', () => {
      input.setRawMode(true);
      input.on('data', onInput);
      output.on('resize', onResize);
    });
    socket.on('data', (chunk) => {
      const { text, inquiries } = telnet.read(chunk);
      output.write(withoutNul(text));
      for (const inquiry of inquiries) {
        if (inquiry === 'terminal_type') socket.write(terminalType(type));
        else onResize();
      }
    });
    socket.on('error', (error) => reject(unreachable(path, error)));
    socket.on('close', () => {
      input.off('data', onInput);
      output.off('resize', onResize);
      if (input.isRaw) input.setRawMode(false);
      input.pause();
      resolve();
    });
  });
}
