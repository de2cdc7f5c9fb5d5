/** Commands for a visitor of the demo. */
import { fileURLToPath } from 'node:url';
import type { Stage } from './stage.js';

const program = fileURLToPath(new URL('../../src/main.js', import.meta.url));

export function exploring({ paths, machine, pods }: Stage): readonly string[] {
  const node = `node ${shortened(program)}`;
  const lines = [
    `${node} tree --socket ${paths.debug_socket}`,
    `${node} status --socket ${paths.debug_socket}`,
    `curl --unix-socket ${paths.debug_socket} http://node/debug/events`,
  ];
  if (machine?.has_packets) lines.push(`${node} vppctl --socket ${paths.cli_socket} show interface`);
  if (machine !== undefined) {
    const { topology } = machine;
    const enter = (name: string): string => `nsenter --net=${topology.lab.namespace(name)}`;
    const [first, second] = pods;
    lines.push(
      `${enter('node')} ip addr`,
      machine.has_packets ? `${enter(first!.name)} ping ${second!.ip4}` : `${enter(first!.name)} ip route`,
    );
  }
  return lines;
}

/** Relative to where the visitor stands, if that is shorter. */
function shortened(path: string): string {
  const here = `${process.cwd()}/`;
  return path.startsWith(here) ? path.slice(here.length) : path;
}
