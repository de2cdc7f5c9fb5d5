/**
 * Text of VPP's start-up file. Pure: facts in, text and what was done to it out.
 *
 * Every keyword below was accepted by VPP 26.10. A wrong one ends VPP at once with "unknown input".
 */
import { substitute, type TemplateFacts } from '../config/placeholders.js';
import {
  type BufferFacts,
  buffers_default,
  buffersPerNuma,
  isSmall,
  sufficeFor,
  usesHugepages,
  vfio_pages_max,
} from './startup-buffers.js';
import { type DriverUplink, isGiven, withDpdk } from './startup-dpdk.js';
import {
  type Addition,
  insertLine,
  type StartupConfig,
  sectionOf,
  sections,
  valueIn,
  wordsIn,
  wordsOf,
} from './startup-sections.js';
import {
  cnatWarnings,
  pagesWarnings,
  session_buckets,
  sessionWarnings,
  socketWarnings,
  unixWarnings,
} from './startup-warnings.js';

/** Messages that VPP keeps for the post-mortem of a crash. */
export const api_trace_items = 8192;

/** The machine, and what is to run on it. */
export interface StartupFacts extends BufferFacts {
  readonly cpus: number;
  /** A core file is wanted. */
  readonly core_dumps: boolean;
  /** There are commands for VPP to run at its start. */
  readonly has_exec: boolean;
  /** Pods may use VPP's host stack. */
  readonly vcl: boolean;
  readonly paths: {
    readonly run_dir: string;
    readonly startup_exec: string;
    readonly api_socket: string;
    readonly cli_socket: string;
    readonly stats_socket: string;
    readonly vpp_pid_file: string;
  };
}

const MiB = 2 ** 20;
const GiB = 2 ** 30;

/** 500 pods in the layout of the Go implementation took 404 MiB (seen), 1 MiB each is asked for; VPP's own default is 1 GiB. */
const mainHeapGib = ({ pods_max, vcl }: Pick<StartupFacts, 'pods_max' | 'vcl'>): number =>
  Math.ceil((512 * MiB + pods_max * (vcl ? 2 : 1) * MiB) / GiB);

/** Two cores or less: a polling main loop would leave half of the machine, or none, to all else. */
const few_cpus = 2;

/** The facts, and what the template says of threads. */
interface BlockFacts extends StartupFacts {
  /** With a worker the main thread does not move packets, and waits by itself. */
  readonly has_workers: boolean;
}

interface Block {
  readonly section: string;
  readonly lines: (facts: BlockFacts) => readonly string[];
  /** Where it says no there is no such section; absent: there always is one. */
  readonly only?: (facts: StartupFacts) => boolean;
  /** Appended to a user's template that lacks the section, for this reason. False: the section is the user's business. */
  readonly append: false | { readonly why: string; readonly when?: (facts: StartupFacts) => boolean };
}

/** The default configuration. `exec` points at a file that is always written. */
const blocks: readonly Block[] = [
  {
    section: 'unix',
    lines: ({ paths, cpus, core_dumps, has_workers }) => [
      // The child that is waited for must be VPP itself; its log goes to stderr, where the container's log is.
      'nodaemon',
      'nosyslog',
      `runtime-dir ${paths.run_dir}`,
      `cli-listen ${paths.cli_socket}`,
      `pidfile ${paths.vpp_pid_file}`,
      `exec ${paths.startup_exec}`,
      ...(core_dumps ? ['full-coredump', 'coredump-size unlimited'] : []),
      // 100 µs of sleep in every round of the main thread, at the price of as much latency and of a tenth of a core when idle.
      ...(cpus <= few_cpus && !has_workers ? ['poll-sleep-usec 100'] : []),
    ],
    append: { why: 'VPP must stay the child that is waited for' },
  },
  {
    section: 'api-trace',
    // For the post-mortem of a crash. VPP's default keeps 262144 messages in its heap.
    lines: () => [`on nitems ${api_trace_items}`],
    append: false,
  },
  { section: 'cpu', lines: () => ['workers 0'], append: false },
  {
    section: 'memory',
    lines: (facts) => [`main-heap-size ${mainHeapGib(facts)}G`],
    append: {
      why: 'the default heap of 1 GiB is too small for this many pods',
      when: (facts) => mainHeapGib(facts) > 1,
    },
  },
  {
    section: 'socksvr',
    lines: ({ paths }) => [`socket-name ${paths.api_socket}`],
    append: { why: 'without it VPP has no API socket' },
  },
  {
    section: 'plugins',
    lines: () => [
      'plugin default { enable }',
      'plugin dpdk_plugin.so { disable }',
      // With it VPP would answer pings of the node instead of Linux.
      'plugin ping_plugin.so { disable }',
    ],
    append: false,
  },
  {
    section: 'buffers',
    lines: (facts) => [
      `buffers-per-numa ${buffersPerNuma(facts)}`,
      ...(usesHugepages(facts) ? [] : ['page-size 4K']),
    ],
    append: {
      why: 'the default of 16384 buffers, or 8192 without hugepages, is used up by as few as 8 pods',
    },
  },
  {
    section: 'statseg',
    lines: ({ paths }) => [
      `socket-name ${paths.stats_socket}`,
      // A counter per route and thread: 100000 routes fill the default of 32 MiB. Pages are taken when touched.
      'size 128M',
      // Age of the buffer gauges that a new pod is admitted by; the default is 10 s.
      'update-interval 2',
    ],
    append: {
      why: 'the default segment of 32 MiB is too small for many routes, and its gauges are 10 s old',
    },
  },
  {
    section: 'cnat',
    lines: () => [
      // One sweep over the session table in 1.3 s (seen) instead of 29 minutes: until then a dead session keeps its SNAT port.
      'session-max 1048576',
      'session-cleanup-timeout 0.01',
      // Longer than the 2 h after which Linux probes an idle connection. VPP keeps 16 bits of it.
      'tcp-max-age 14400',
      // With 1009 places a back end that goes moves five times as many of the others' clients.
      'maglev-len 10007',
    ],
    append: { why: 'with the defaults a dead session keeps its SNAT port for 29 minutes' },
  },
  {
    section: 'session',
    only: ({ vcl }) => vcl,
    lines: () => [
      'enable',
      'use-app-socket-api',
      // Each pod has four of these tables: of VPP's own size, 20000, they are 14 MB (seen).
      ...['v4-session', 'v6-session', 'v4-halfopen', 'v6-halfopen', 'local-endpoints'].map(
        (table) => `${table}-table-buckets ${session_buckets}`,
      ),
    ],
    append: { why: 'vclEnabled is set: VPP has a host stack only where it is told to at its start' },
  },
  {
    section: 'punt',
    only: ({ vcl }) => vcl,
    // Nobody listens to it: VPP gives ICMP back only where it has one (icmp-punt.ts).
    lines: ({ paths }) => [`socket ${paths.run_dir}/punt.sock`],
    append: {
      why: 'vclEnabled is set: without a socket there the host stack keeps ICMP that is for the node',
    },
  },
  {
    section: 'tcp',
    only: ({ vcl }) => vcl,
    // It hears of no way that takes less, and what it sends by IPv4 may not be cut: at 1500, nothing of any length went by a tunnel (seen).
    lines: () => [`mtu ${host_stack_mtu}`],
    append: {
      why: 'vclEnabled is set: the host stack does not find out what goes by a tunnel to another node, and would send what does not',
    },
  },
];

/** Of packets of its TCP, in bytes: what a network of 1460, as clouds have it, carries with the 100 bytes of headers that encryption takes at most. */
const host_stack_mtu = 1360;

const render = ({ section, lines }: Block, facts: BlockFacts): string =>
  `${section} {\n${lines(facts)
    .map((line) => `  ${line}\n`)
    .join('')}}\n`;

/** The configuration for a user who gives no template. */
export function defaultTemplate(facts: StartupFacts): string {
  return blocks
    .filter(({ only }) => only?.(facts) !== false)
    .map((block) => render(block, { ...facts, has_workers: false }))
    .join('\n');
}

function addMissing(config: StartupConfig, facts: StartupFacts): StartupConfig {
  const present = new Set(sections(config.text).map(({ name }) => name));
  const has_workers = asksForWorkers(wordsIn(config.text, 'cpu'));
  const missing = blocks.flatMap((block): Addition[] => {
    const { section, append, only } = block;
    if (only?.(facts) === false) return [];
    if (!append || present.has(section) || append.when?.(facts) === false) return [];
    return [{ section, text: render(block, { ...facts, has_workers }), why: append.why }];
  });
  return {
    ...config,
    text: [config.text, ...missing.map(({ text }) => text)].join('\n'),
    added: [...config.added, ...missing],
  };
}

function asksForWorkers(cpu: readonly string[]): boolean {
  return (
    cpu.includes('corelist-workers') ||
    cpu.includes('coremask-workers') ||
    Number(valueIn(cpu, 'workers')) > 0
  );
}

/**
 * VPP takes hugepages where it can: too few for its buffers, or more than its cgroup allows, and it is ended when it touches them. One of two
 * words that are added to a section of the user.
 */
function smallPages(config: StartupConfig, facts: StartupFacts): StartupConfig {
  const buffers = sectionOf(config.text, 'buffers');
  if (!buffers) return config;
  const words = wordsOf(config.text, buffers);
  const asked = Number(valueIn(words, 'buffers-per-numa') ?? buffers_default);
  if (words.includes('page-size') || sufficeFor(facts, asked)) return config;
  return insertLine(config, buffers, 'page-size 4K', `the hugepages do not suffice for ${asked} buffers`);
}

/** A daemon would be lost to this process: one of two words that are added to a section of the user. */
function stayChild(config: StartupConfig): StartupConfig {
  const unix = sectionOf(config.text, 'unix');
  if (!unix) return config;
  const words = wordsOf(config.text, unix);
  if (words.includes('nodaemon') || words.includes('interactive')) return config;
  return insertLine(config, unix, 'nodaemon', 'VPP must stay the child that is waited for');
}

/**
 * The start-up file. Without a template, the default one. A template of the user keeps every section that it has: only sections
 * that are missing are added, and each is told in `added`.
 */
export function startupConfig(
  template: string | undefined,
  placeholders: TemplateFacts,
  uplinks: readonly DriverUplink[],
  machine: StartupFacts,
): StartupConfig {
  const of_dpdk = uplinks.filter(isGiven);
  const facts = of_dpdk.length === 0 ? machine : { ...machine, small_pages_max: vfio_pages_max };
  const { text, unknown } = substitute(template ?? defaultTemplate(facts), placeholders);
  const start: StartupConfig = {
    text,
    added: [],
    warnings: unknown.map(
      (name) => `the placeholder ${name} has no value on this node and stays in the text`,
    ),
  };
  const complete = addMissing(smallPages(stayChild(start), facts), facts);
  const driven = withDpdk(complete, uplinks, !isSmall(complete.text));
  return {
    ...driven,
    warnings: [
      ...driven.warnings,
      ...(of_dpdk.length === 0 ? [] : pagesWarnings(driven.text)),
      ...socketWarnings(driven.text, facts),
      ...unixWarnings(driven.text, facts),
      ...cnatWarnings(driven.text),
      ...sessionWarnings(driven.text, facts),
    ],
  };
}

const no_placeholders: TemplateFacts = { uplinks: [], first_cpu: '', node_annotations: {} };

/** Are VPP's buffers on pages of 4 KiB, by what the hugepages suffice for, or by the user's word? */
export function hasSmallBuffers(template: string | undefined, facts: StartupFacts): boolean {
  const { text } = startupConfig(template, no_placeholders, [], facts);
  return isSmall(text);
}

/** The script that VPP runs once it is up. Written even when it is empty. */
export function startupExec(template: string, placeholders: TemplateFacts): string {
  return substitute(template, placeholders).text;
}
