/**
 * Runs in the machine: takes a line of JSON for each script, and answers with one. `agent.js PATH`, where PATH is the
 * machine's end of a channel that needs no network.
 */
import { spawn } from 'node:child_process';
import { createReadStream, openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Answer, Request } from './channel.js';

const output_max = 4 * 2 ** 20;
/** The kernel opens it for one at a time: both ways go over one descriptor. */
const channel = openSync(process.argv[2]!, 'r+');

function say(answer: Answer): void {
  const bytes = Buffer.from(`${JSON.stringify(answer)}\n`);
  for (let done = 0; done < bytes.length; ) done += writeSync(channel, bytes, done);
}

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

createInterface({ input: createReadStream('', { fd: channel }) }).on('line', (line) => run(JSON.parse(line)));
// Whoever waits for the boot waits for this.
say({ id: 0, code: 0, output: '' });
