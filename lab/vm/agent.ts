/**
 * Runs in the machine: takes a line of JSON for each script, and answers with one. `agent.js PATH`, where PATH is the
 * machine's end of a channel that needs no network: a port of the machine, or a socket.
 */
import { spawn } from 'node:child_process';
import { createReadStream, openSync, statSync, writeSync } from 'node:fs';
import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';
import type { Answer, Request } from './channel.js';

const output_max = 4 * 2 ** 20;
const { input, write } = open(process.argv[2]!);

function open(path: string): { readonly input: NodeJS.ReadableStream; write(bytes: Buffer): void } {
  if (statSync(path).isSocket()) {
    const socket = createConnection(path);
    return { input: socket, write: (bytes) => void socket.write(bytes) };
  }
  // The kernel opens a port for one at a time: both ways go over one descriptor.
  const fd = openSync(path, 'r+');
  return {
    input: createReadStream('', { fd }),
    write(bytes) {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    },
  };
}

const say = (answer: Answer): void => write(Buffer.from(`${JSON.stringify(answer)}\n`));

function run({ id, script, input, timeout_ms }: Request): void {
  const child = spawn('/bin/bash', ['-c', script], { detached: true });
  const late = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), timeout_ms);
  // One that reads nothing ends before it has all.
  child.stdin.on('error', () => {}).end(Buffer.from(input, 'base64'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-output_max);
    });
  }
  child.once('close', (code, signal) => {
    clearTimeout(late);
    say({ id, code, output: signal === null ? output : `${output}\nended with ${signal}` });
  });
}

createInterface({ input }).on('line', (line) => run(JSON.parse(line)));
// Whoever waits for the boot waits for this.
say({ id: 0, code: 0, output: '' });
