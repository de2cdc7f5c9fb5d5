/** The stand-in as a program that is started like VPP, and how a test starts and steers it. */
import { chmodSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Fault } from './faults.js';

/** What the program reads from the environment variable `STAND_IN_VPP`, as JSON. */
export interface ProgramSettings {
  readonly faults?: readonly Fault[];
  readonly message_id_offset?: number;
  readonly without?: readonly string[];
  /** Makes the taps' Linux side for real: needs root and /dev/net/tun. */
  readonly real_devices?: boolean;
  /** Path of a socket on which faults can be set while it runs. */
  readonly control?: string;
}

export const settings_variable = 'STAND_IN_VPP';

export function programEnvironment(settings: ProgramSettings): Record<string, string> {
  return { [settings_variable]: JSON.stringify(settings) };
}

/** Writes an executable into `directory` that is the stand-in, to be named where a VPP is wanted. Returns its path. */
export function writeStandInBinary(directory: string): string {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const path = join(directory, 'stand-in-vpp');
  writeFileSync(path, `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

/** What can be asked of a running program. */
export type ControlRequest = { readonly set: Fault } | { readonly clear: true } | { readonly counts: true };

/** Sends one request to the control socket and resolves with the answer. */
export function control(path: string, request: ControlRequest): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(path, () => socket.write(`${JSON.stringify(request)}\n`));
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (!text.includes('\n')) return;
      socket.destroy();
      resolve(JSON.parse(text));
    });
    socket.on('error', reject);
    socket.on('end', () => reject(new Error(`${path} closed without an answer`)));
  });
}
