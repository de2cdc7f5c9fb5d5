/**
 * Text of VPP's start-up file. Pure: facts in, text and what was done to it out.
 *
 * Every keyword below was accepted by VPP 26.10. A wrong one ends VPP at once with "unknown input".
 */
import { substitute, type TemplateFacts } from '../config/placeholders.js';
import { type DriverUplink, isGiven, withDpdk } from './startup-dpdk.js';

/** Messages that VPP keeps for the post-mortem of a crash. */
export const api_trace_items = 8192;

/** One top-level entry of a start-up file: `name { body }`. Offsets are into the text. */
export interface Section {
  readonly name: string;
  /** Of its name. */
  readonly start: number;
  readonly body_start: number;
  readonly body_end: number;
}

/** The file is words, braces and comments from # to the end of the line, as VPP's own reader takes it. */
const token = /#[^\n\r]*|[{}]|[^\s{}#]+/g;

/** Top-level sections in order. An unclosed one is left out: VPP will say where. */
export function sections(text: string): readonly Section[] {
  const found: Section[] = [];
  let depth = 0;
  let word = { name: '', start: 0 };
  let open: Omit<Section, 'body_end'> | undefined;
  for (const { 0: piece, index } of text.matchAll(token)) {
    if (piece.startsWith('#')) continue;
    if (piece === '{') {
      if (depth++ === 0) open = { ...word, body_start: index + 1 };
    } else if (piece === '}') {
      if (--depth === 0 && open) found.push({ ...open, body_end: index });
      depth = Math.max(depth, 0);
    } else word = { name: piece, start: index };
  }
  return found;
}

/** Words and braces of a section with their places, without comments. */
export function tokensOf(
  text: string,
  { body_start, body_end }: Pick<Section, 'body_start' | 'body_end'>,
): readonly { readonly word: string; readonly at: number }[] {
  return [...text.slice(body_start, body_end).matchAll(token)]
    .filter(([piece]) => !piece.startsWith('#'))
    .map(({ 0: word, index }) => ({ word, at: body_start + index }));
}

export const sectionOf = (text: string, name: string): Section | undefined =>
  sections(text).find((section) => section.name === name);

/** The words of a section, without comments; inner braces are words too. */
export function wordsOf(text: string, section: Section): string[] {
  return tokensOf(text, section).map(({ word }) => word);
}

/** The machine, and what is to run on it. */
export interface StartupFacts {
  readonly cpus: number;
  /** Totals that this process may have, not what is free now: the text must not differ from one life of VPP to the next. */
  readonly hugepages_bytes: number;
  readonly memory_bytes: number;
  readonly pods_max: number;
  /** Descriptors that one pod's receive rings keep filled with buffers. */
  readonly pod_rx_buffers: number;
  /** A core file is wanted. */
  readonly core_dumps: boolean;
  /** There are commands for VPP to run at its start. */
  readonly has_exec: boolean;
  /** Pods may use VPP's host stack. */
  readonly vcl: boolean;
  /** So many pages of 4 KiB at most, if buffers are on such. */
  readonly small_pages_max?: number;
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

/** For packets on their way, uplinks and host taps, beside what the receive rings of pods keep. */
const buffers_spare = 16_384;
/** Numbers that a person can read. */
const buffers_step = 1024;
/** 256 bytes of header, 2048 of data, and the cache line by which VPP makes the stride odd (`vlib_buffer_alloc_size`). */
const buffer_stride = 2368;
const page_bytes = { small: 4096, huge: 2 * MiB };

type PageSize = keyof typeof page_bytes;

/** Buffers that a node with all its pods wants to find in VPP's pool. */
export const buffersWanted = (facts: Pick<StartupFacts, 'pods_max' | 'pod_rx_buffers'>): number =>
  facts.pods_max * facts.pod_rx_buffers + buffers_spare;

/**
 * VPP takes as many pages as the buffers asked for would need if none were cut, lays buffers over them end to end, and leaves out
 * those that would cross a page (`vlib_buffer_pool_create`): of 131,072 asked for on pages of 4 KiB there are 95,647 (seen).
 */
const buffersOfPage = (pages: PageSize): number => page_bytes[pages] / buffer_stride - 1;

/**
 * What VPP has to be asked for so that a node with all its pods has its buffers. VPP touches all of them at its start, so that pages of
 * 4 KiB get at most an eighth of the memory.
 */
function buffersPerNuma(facts: StartupFacts): number {
  const size: PageSize = usesHugepages(facts) ? 'huge' : 'small';
  const affordable = (size === 'huge' ? facts.hugepages_bytes : facts.memory_bytes / 8) / page_bytes[size];
  const most = size === 'small' ? (facts.small_pages_max ?? Number.POSITIVE_INFINITY) : affordable;
  const pages = Math.min(pagesWanted(facts, size), Math.floor(affordable), most);
  const asked = pages * Math.floor(page_bytes[size] / buffer_stride);
  return Math.max(1, Math.floor(asked / buffers_step)) * buffers_step;
}

/** With room for the step that is rounded off, and for the first buffer, which does not begin where the first page does. */
const pagesWanted = (facts: StartupFacts, size: PageSize): number =>
  Math.ceil((buffersWanted(facts) + buffers_step) / buffersOfPage(size));

/** Hugepages that do not suffice for all are worse than none. */
const usesHugepages = (facts: StartupFacts): boolean =>
  facts.hugepages_bytes >= pagesWanted(facts, 'huge') * page_bytes.huge;

/** What VPP makes where a template names no number. */
const buffers_default = 16_384;

/** Do the hugepages suffice for as many buffers as a template asks for? */
const sufficeFor = (facts: StartupFacts, buffers: number): boolean =>
  facts.hugepages_bytes >= Math.ceil(buffers / Math.floor(page_bytes.huge / buffer_stride)) * page_bytes.huge;

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

/** For as many sessions of one pod without loss of speed; more of them fit. */
const session_buckets = 1024;

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

/** A change that was made to a user's template, for the log. */
export interface Addition {
  readonly section: string;
  readonly text: string;
  readonly why: string;
}

export interface StartupConfig {
  readonly text: string;
  readonly added: readonly Addition[];
  readonly warnings: readonly string[];
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

/** Inserts one line at the start of a section. */
export function insertLine(
  config: StartupConfig,
  section: Section,
  line: string,
  why: string,
): StartupConfig {
  const { text } = config;
  return {
    ...config,
    text: `${text.slice(0, section.body_start)}\n  ${line}${text.slice(section.body_start)}`,
    added: [...config.added, { section: section.name, text: line, why }],
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

export const valueIn = (words: readonly string[], key: string): string | undefined => {
  const at = words.indexOf(key);
  return at < 0 ? undefined : words[at + 1];
};

/** `/var/run` is a link to `/run` on every system in use. */
const samePath = (a: string, b: string): boolean =>
  a.replace(/^\/var\/run\//, '/run/') === b.replace(/^\/var\/run\//, '/run/');

/** What the user's `unix` section does not do, and others count on. */
function unixWarnings(text: string, { paths, has_exec }: StartupFacts): string[] {
  const unix = wordsIn(text, 'unix');
  const listens = valueIn(unix, 'cli-listen');
  const runs = valueIn(unix, 'exec') ?? valueIn(unix, 'startup-config');
  return [
    ...(listens !== undefined && samePath(listens, paths.cli_socket)
      ? []
      : [
          `the template's unix section ${listens === undefined ? 'has no cli-listen' : `listens at ${listens}`}: the subcommand vppctl looks for ${paths.cli_socket}; set cli-listen to it`,
        ]),
    ...(!has_exec || (runs !== undefined && samePath(runs, paths.startup_exec))
      ? []
      : [
          `the template's unix section ${runs === undefined ? 'has no exec' : `runs ${runs}`}: CALICOVPP_CONFIG_EXEC_TEMPLATE has no effect; set exec to ${paths.startup_exec}`,
        ]),
  ];
}

/** VPP keeps ages in 16 bits. */
const age_max_s = 65_535;
const sessions_max = 2 ** 24;

/** By word of the `cnat` section: what VPP dies of at its start, or takes and is of no use with. */
const cnat_limits: Readonly<Record<string, (value: number, words: readonly string[]) => string | undefined>> =
  {
    'session-max': (value) =>
      value === 0
        ? 'VPP takes it, and has no sessions'
        : value > sessions_max
          ? `VPP does not start with more than ${sessions_max}`
          : undefined,
    'session-max-per-vrf': (value, words) =>
      value > Number(valueIn(words, 'session-max') ?? sessions_max)
        ? 'VPP does not start with more than session-max'
        : undefined,
    'session-cleanup-timeout': (value) =>
      value === 0 ? 'VPP takes it, and never forgets a session' : undefined,
    'session-max-age': (value) => (value > age_max_s ? wraps(value) : undefined),
    'tcp-max-age': (value) => (value > age_max_s ? wraps(value) : undefined),
  };

const wraps = (value: number): string =>
  `VPP takes it for ${value % (age_max_s + 1)}: set at most ${age_max_s}`;

/** What a start-up file says of cnat that is of no use. */
export function cnatWarnings(text: string): string[] {
  const words = wordsIn(text, 'cnat');
  return words.flatMap((word, at) => {
    if (word.startsWith('session-db-'))
      return `the template's cnat section has ${word}: this VPP does not start with it; take it out`;
    const value = Number(words[at + 1]);
    const why = cnat_limits[word] && !Number.isNaN(value) ? cnat_limits[word](value, words) : undefined;
    return why === undefined ? [] : `the template's cnat section has ${word} ${words[at + 1]}: ${why}`;
  });
}

/** Why VPP would have no host stack for pods with this template, whose sections are left as they are; undefined: it would. */
export function sessionLack(template: string): string | undefined {
  const section = sectionOf(template, 'session');
  if (section === undefined) return undefined;
  const words = wordsOf(template, section);
  if (!words.includes('enable'))
    return "the template's session section does not have enable: add it, or take the section out";
  if (words.includes('use-bapi-socket-api'))
    return "the template's session section has use-bapi-socket-api, with which programs of pods do not reach VPP: take it out";
  return undefined;
}

/** Of tables for each pod, where their number is not said. */
const session_table_words = ['v4-session', 'v6-session', 'v4-halfopen', 'v6-halfopen'].map(
  (table) => `${table}-table-buckets`,
);

function sessionWarnings(text: string, { vcl }: StartupFacts): string[] {
  const words = vcl ? wordsIn(text, 'session') : [];
  if (words.length === 0) return [];
  const lack = sessionLack(text);
  const missing = session_table_words.filter((word) => !words.includes(word));
  return [
    ...(lack === undefined ? [] : [`vclEnabled has no effect: ${lack}`]),
    ...(missing.length === 0
      ? []
      : [
          `the template's session section does not have ${missing.join(', ')}: each pod with VCL takes up to 14 MB of VPP's heap; set them to ${session_buckets}`,
        ]),
  ];
}

/** Where VPP will open a socket that is looked for elsewhere. */
function socketWarnings(text: string, facts: StartupFacts): string[] {
  const runtime_dir = valueIn(wordsIn(text, 'unix'), 'runtime-dir') ?? '/run/vpp';
  const sockets = [
    { section: 'socksvr', file: 'api.sock', expected: facts.paths.api_socket, variable: 'CALICOVPP_RUN_DIR' },
    {
      section: 'statseg',
      file: 'stats.sock',
      expected: facts.paths.stats_socket,
      variable: 'CALICOVPP_STATS_SOCKET',
    },
  ];
  return sockets.flatMap(({ section, file, expected, variable }) => {
    const opened = valueIn(wordsIn(text, section), 'socket-name') ?? `${runtime_dir}/${file}`;
    if (samePath(opened, expected)) return [];
    return [
      `the template's ${section} opens ${opened}, but ${expected} is looked for: set socket-name to it, or change ${variable}`,
    ];
  });
}

export function wordsIn(text: string, name: string): string[] {
  const section = sectionOf(text, name);
  return section ? wordsOf(text, section) : [];
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

/** `default` is the page of the kernel. */
const isSmall = (text: string): boolean =>
  /^(4k|4096|default)$/i.test(valueIn(wordsIn(text, 'buffers'), 'page-size') ?? '');

/**
 * vfio maps 65,535 pages for one program (`dma_entry_limit`), and VPP's plugin, of which each page of buffers is one of them, goes on where it maps no more:
 * those buffers are lost to the device. What DPDK has of its own takes its part.
 */
const vfio_pages_max = 60_000;

function pagesWarnings(text: string): string[] {
  const asked = Number(valueIn(wordsIn(text, 'buffers'), 'buffers-per-numa') ?? 0);
  return isSmall(text) && asked > vfio_pages_max
    ? [
        `the template's buffers section has ${asked} buffers on pages of 4 KiB: dpdk reaches ${vfio_pages_max} of them; set buffers-per-numa to that, or give the machine hugepages`,
      ]
    : [];
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
