/** Programs of the system that tests and the demo start. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Debian's packages. */
const packages = {
  curl: 'curl',
  ip: 'iproute2',
  iperf3: 'iperf3',
  nft: 'nftables',
  nsenter: 'util-linux',
  ping: 'iputils-ping',
  promtool: 'prometheus',
  radvd: 'radvd',
  tcpdump: 'tcpdump',
  tini: 'tini',
} as const;

export type Program = keyof typeof packages;

/** Which of these programs is not on the PATH, as the reason to skip a test; undefined when all are. */
export function missing(...programs: readonly Program[]): string | undefined {
  const program = programs.find((each) => !isThere(each));
  return program && `needs the program ${program} (Debian's package ${packages[program]})`;
}

function isThere(program: string): boolean {
  return pathOf(program) !== undefined;
}

/** Where a program is on the PATH, or in one of these directories; undefined: not there. */
export function pathOf(program: string, ...beside: readonly string[]): string | undefined {
  return [...(process.env.PATH ?? '').split(delimiter), ...beside]
    .map((directory) => join(directory, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
