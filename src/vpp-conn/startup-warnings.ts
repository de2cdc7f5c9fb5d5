/** What a user's start-up file does not do, and others count on, or what of it is of no use. Pure. */
import { isSmall, vfio_pages_max } from './startup-buffers.js';
import type { StartupFacts } from './startup-config.js';
import { sectionOf, valueIn, wordsIn, wordsOf } from './startup-sections.js';

/** For as many sessions of one pod without loss of speed; more of them fit. */
export const session_buckets = 1024;

/** `/var/run` is a link to `/run` on every system in use. */
const samePath = (a: string, b: string): boolean =>
  a.replace(/^\/var\/run\//, '/run/') === b.replace(/^\/var\/run\//, '/run/');

/** What the user's `unix` section does not do, and others count on. */
export function unixWarnings(text: string, { paths, has_exec }: StartupFacts): string[] {
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

export function sessionWarnings(text: string, { vcl }: StartupFacts): string[] {
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
export function socketWarnings(text: string, facts: StartupFacts): string[] {
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

export function pagesWarnings(text: string): string[] {
  const asked = Number(valueIn(wordsIn(text, 'buffers'), 'buffers-per-numa') ?? 0);
  return isSmall(text) && asked > vfio_pages_max
    ? [
        `the template's buffers section has ${asked} buffers on pages of 4 KiB: dpdk reaches ${vfio_pages_max} of them; set buffers-per-numa to that, or give the machine hugepages`,
      ]
    : [];
}
