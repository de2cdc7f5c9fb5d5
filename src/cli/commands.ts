import type { ParseArgsConfig } from 'node:util';

/** The subcommands as data: what they are called, what they take and how they are explained. */

type OptionSpecs = NonNullable<ParseArgsConfig['options']>;

interface OptionHelp {
  readonly spec: OptionSpecs[string];
  /** Placeholder of the value, e.g. `PATH`; absent for a switch. */
  readonly value?: string;
  readonly says: string;
}

export interface Command {
  readonly summary: string;
  readonly details: string;
  readonly options: Readonly<Record<string, OptionHelp>>;
  /** What may follow the options; absent: nothing. */
  readonly operands?: string;
}

const switched = (says: string, short?: string): OptionHelp => ({
  spec: { type: 'boolean', ...(short !== undefined && { short }) },
  says,
});
const valued = (value: string, says: string): OptionHelp => ({ spec: { type: 'string' }, value, says });

const debug_socket = valued(
  'PATH',
  'debug socket of the node (default: CALICOVPP_DEBUG_SOCKET, or debug.sock in CALICOVPP_RUN_DIR)',
);

const cli_socket = valued('PATH', "VPP's command line socket (default: cli.sock in CALICOVPP_RUN_DIR)");

/** From a workstation. */
const elsewhere = {
  node: valued('NODE', 'of another node: the command is run in its pod, by kubectl'),
  namespace: valued('NAME', 'of those pods (default: calico-vpp-dataplane)'),
} as const;

const capture_options = {
  packets: valued('N', 'at most so many packets, of each of its threads (default: 50)'),
  seconds: valued('SECONDS', 'end after so long (default: 10)'),
  filter: valued('EXPRESSION', 'only packets that match, in the language of pcap'),
  clear: switched('end what others, or one that was killed, have left of this in VPP'),
  socket: debug_socket,
  'cli-socket': cli_socket,
  ...elsewhere,
} as const;

export const commands = {
  run: {
    summary: 'run the node: start or adopt VPP and serve until SIGTERM',
    details:
      'Everything is configured by environment variables; `check` explains what they amount to. On SIGTERM the node is\n' +
      'given back to Linux and the exit code is 0; any other end is an error.',
    options: {},
  },
  check: {
    summary: 'check the configuration and the machine, change nothing',
    details:
      'Reports every problem of the environment with the step to take. Exit code 0 when `run` could start; with --back, when\n' +
      'the Go implementation could.',
    options: {
      back: switched('what this product has left that would disturb the Go implementation, and nothing else'),
    },
  },
  restore: {
    summary: 'give the network back to Linux from the undo journal',
    details:
      'Undoes, in reverse order, every change of the host that is still recorded. Needs nothing but the journal. Safe to\n' +
      'repeat. Do not use it while `run` is running.',
    options: {},
  },
  tree: {
    summary: 'show the supervision tree of the running node',
    details: 'Works while actors, or the whole main loop, are stuck.',
    options: {
      json: switched('print JSON'),
      depth: valued('N', 'levels below the root'),
      state: valued('STATES', 'only actors in these states, separated by commas'),
      'min-mailbox': valued('N', 'only actors with so many messages waiting'),
      ascii: switched('draw with plain ASCII'),
      socket: debug_socket,
      ...elsewhere,
    },
  },
  status: {
    summary: 'show readiness, VPP, uplinks and pods of the running node',
    details: 'Exit code 0 when the node is ready, 1 when it is not, 3 when nobody answers.',
    options: { json: switched('print JSON'), socket: debug_socket, ...elsewhere },
  },
  services: {
    summary: 'show what VPP has of the services of the running node',
    details:
      'Without a name: a line for each service, first those with something wrong. With one, namespace/name: a line for each\n' +
      'of its addresses and ports. Exit code 0 when all that is shown is as it should be, 1 when something is not, 3 when\n' +
      'nobody answers.',
    operands: '[NAMESPACE/NAME]',
    options: {
      json: switched('print JSON'),
      dump: switched('ask VPP what it has, and show what it has that nobody wants'),
      socket: debug_socket,
      ...elsewhere,
    },
  },
  why: {
    summary: 'show what is programmed for a pod, a service or the node, and by which input',
    details:
      'NAMESPACE/NAME is a pod of this node, else a service; pod/NAMESPACE/NAME and service/NAMESPACE/NAME say which, node is\n' +
      'the node itself. Of a pod: each interface with its objects in VPP, the policies that it has, and the services that\n' +
      'lead to it. Exit code 0 when VPP has all of it, 1 when it has not, or there is no such object.',
    operands: 'OBJECT',
    options: { json: switched('print JSON'), socket: debug_socket, ...elsewhere },
  },
  flows: {
    summary: "show VPP's sessions of a pod, a service or the node as they are now",
    details:
      'OBJECT is as `why` takes it. A line for each flow: its addresses as its first packet came, what becomes of them (= means\n' +
      'unchanged), whether its packets pass, in which directions VPP has seen it, and for how long it has been idle and is\n' +
      'still known. VPP is asked by address, and has a session of each TCP, UDP, SCTP or ping flow for half a minute at least.',
    operands: 'OBJECT',
    options: {
      watch: switched('look again and again'),
      every: valued('SECONDS', 'from one look to the next (default: 2)'),
      times: valued('N', 'end after so many looks'),
      max: valued('N', 'at most so many flows (default: 100)'),
      json: switched('print JSON, a line for each look'),
      socket: debug_socket,
      'cli-socket': cli_socket,
      ...elsewhere,
    },
  },
  trace: {
    summary: 'show the way of packets through the graph of VPP',
    details:
      'Of packets that come in by the uplink; with a pod, NAMESPACE/NAME, of those that come from pods. Tracing makes these\n' +
      'packets slower; while they are written down VPP stands still, so that 500 are the most. Where others have traced packets it\n' +
      'is refused, unless --clear is given; VPP cannot show whether somebody waits for packets that have not come yet.\n' +
      'It ends by itself, and when interrupted, and one is under way at a time.',
    operands: '[POD]',
    options: { 'input-node': valued('NAME', 'graph node that packets come in by'), ...capture_options },
  },
  pcap: {
    summary: 'capture packets of a pod, or those that VPP receives and sends',
    details:
      'Of a pod, NAMESPACE/NAME: what its device sends and receives, heard by Linux in its namespace; --filter needs libpcap there.\n' +
      'Else of all interfaces of VPP, or one: without what pods send, which VPP cannot capture, and one at a time. What VPP hands\n' +
      'to pods has no Ethernet header: it gets one of zeros. The file is for Wireshark or tcpdump, and readable by its owner\n' +
      'alone: it has what pods say. It ends by itself, and when interrupted.',
    operands: '[POD]',
    options: {
      interface: valued('NAME', 'of VPP, or any (default)'),
      bytes: valued('N', 'of each packet (default: 512)'),
      output: valued('FILE', 'to write to; - is standard output'),
      ...capture_options,
    },
  },
  log: {
    summary: 'show the last lines of the log of the running node',
    details: 'The node keeps 2000 lines, a megabyte at most. With --node it is what `kubectl logs` has.',
    options: {
      last: valued('N', 'lines (default: 200)'),
      follow: switched('go on with what comes; with --node alone'),
      socket: debug_socket,
      ...elsewhere,
    },
  },
  export: {
    summary: 'write a bundle of all there is to see, to be given to somebody else',
    details:
      "A tar.gz with what `status`, `tree` and the other paths of the endpoint say, the log, and VPP's own words on interfaces,\n" +
      'errors, routes, sessions and source NAT. Secrets are not in it; names and addresses are. 64 MiB at most.',
    options: {
      output: valued('FILE', 'to write to; - is standard output'),
      socket: debug_socket,
      'cli-socket': cli_socket,
      ...elsewhere,
    },
  },
  vppctl: {
    summary: "run a command on VPP's command line",
    details:
      'Without a command: commands are read from standard input, one a line; a terminal gets an interactive session.\n' +
      "Options go before the command; all that follows its first word is VPP's.",
    operands: '[COMMAND …]',
    options: {
      socket: {
        spec: { type: 'string', short: 's' },
        value: 'PATH',
        says: "VPP's command line socket (default: cli.sock in CALICOVPP_RUN_DIR)",
      },
      timeout: valued('SECONDS', 'give up when VPP is silent for so long (default: 30)'),
      ...elsewhere,
    },
  },
  demo: {
    summary: 'show the life of a node, on any machine',
    details:
      'Boots a node, adds pods, kills VPP and the node, stops, and proves what it shows. With root in network namespaces;\n' +
      'with the VPP that VPP_BIN names, or /usr/bin/vpp, with real packets. Exit code 0 when every proof held.',
    options: { stay: switched('leave the node running with its pods until interrupted') },
  },
} as const satisfies Record<string, Command>;

export type CommandName = keyof typeof commands;
export const command_names = Object.keys(commands) as readonly CommandName[];

export function optionSpecs(command: Command): OptionSpecs {
  return {
    help: { type: 'boolean', short: 'h' },
    ...Object.fromEntries(Object.entries(command.options).map(([name, { spec }]) => [name, spec])),
  };
}

/** Help of one subcommand. */
export function commandHelp(name: CommandName): string {
  const command: Command = commands[name];
  const options = Object.entries({
    ...command.options,
    help: { spec: { type: 'boolean', short: 'h' }, says: 'print this' } satisfies OptionHelp as OptionHelp,
  }).map(([option, { spec, value, says }]) => {
    const short = spec.short === undefined ? '    ' : `-${spec.short}, `;
    return [`  ${short}--${option}${value === undefined ? '' : ` ${value}`}`, says] as const;
  });
  const width = Math.max(...options.map(([flag]) => flag.length));
  return [
    `calico-vpp-node ${name} — ${command.summary}`,
    '',
    `Usage: calico-vpp-node ${name} [options]${command.operands === undefined ? '' : ` ${command.operands}`}`,
    '',
    command.details,
    '',
    'Options:',
    ...options.map(([flag, says]) => `${flag.padEnd(width)}  ${says}`),
    '',
  ].join('\n');
}

export function generalHelp(): string {
  const width = Math.max(...command_names.map((name) => name.length));
  return [
    'calico-vpp-node — FD.io VPP as the dataplane of a Calico node',
    '',
    'Usage: calico-vpp-node COMMAND [options]',
    '',
    'Commands:',
    ...command_names.map((name) => `  ${name.padEnd(width)}  ${commands[name].summary}`),
    '',
    'Options:',
    '  -h, --help     print this, or the help of a command',
    '  -V, --version  print the version',
    '',
    'Exit codes: 0 done, 1 failed or not ready, 2 wrong usage, 3 nobody answers.',
    '',
  ].join('\n');
}
