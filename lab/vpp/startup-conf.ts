/** What the stand-in takes from a start-up file of VPP. */
import { sections } from '../../src/vpp-conn/startup-sections.js';

export interface StartupConf {
  readonly api_socket: string;
  readonly cli_socket: string | undefined;
  readonly pid_file: string | undefined;
  /** A file of commands, run at start. */
  readonly exec: string | undefined;
  readonly buffers: number;
  /** There is a host stack for programs from the first. */
  readonly host_stack: boolean;
  readonly punt_socket: boolean;
}

const known_sections = new Set([
  'unix',
  'api-trace',
  'api-segment',
  'cpu',
  'memory',
  'socksvr',
  'plugins',
  'buffers',
  'statseg',
  'cnat',
  'dpdk',
  'session',
  'tcp',
  'punt',
  'logging',
  'ip',
  'ip6',
  'l2fib',
  'heapsize',
  'physmem',
]);

/** Throws as VPP does on what it does not know. */
export function parseStartupConf(text: string): StartupConf {
  const found = sections(text);
  const unknown = found.find(({ name }) => !known_sections.has(name));
  if (unknown !== undefined) throw new Error(`unknown input \`${unknown.name}'`);
  const wordsOf = (section: string): string[] => {
    const where = found.find(({ name }) => name === section);
    if (where === undefined) return [];
    const body = text.slice(where.body_start, where.body_end).replace(/#[^\n\r]*/g, '');
    return body.split(/\s+/).filter((word) => word !== '');
  };
  const has = (section: string, word: string): boolean => wordsOf(section).includes(word);
  const wordAfter = (section: string, key: string): string | undefined => {
    const words = wordsOf(section);
    const at = words.indexOf(key);
    return at < 0 ? undefined : words[at + 1];
  };
  const runtime_dir = wordAfter('unix', 'runtime-dir') ?? '/run/vpp';
  const socket = wordAfter('socksvr', 'socket-name');
  return {
    api_socket: socket === undefined || socket === 'default' ? `${runtime_dir}/api.sock` : socket,
    cli_socket: wordAfter('unix', 'cli-listen'),
    pid_file: wordAfter('unix', 'pidfile'),
    exec: wordAfter('unix', 'exec'),
    buffers: Number(wordAfter('buffers', 'buffers-per-numa') ?? 16_384),
    host_stack: has('session', 'enable'),
    punt_socket: wordAfter('punt', 'socket') !== undefined,
  };
}
