/**
 * Runs the benchmarks and shows each figure beside its goal. They need root and a real VPP; one that cannot run says why.
 *
 *     VPP_BIN=/usr/bin/vpp npm run bench -- [NAME ...] [--quick] [--json]
 *
 * With --json, standard output has one line for each figure and nothing else. A goal that is missed is shown, not fatal.
 */
import { spawnSync } from 'node:child_process';
import { cpus, loadavg, release } from 'node:os';
import { parseArgs } from 'node:util';
import { findRealVpp } from '../lab/real-vpp.js';
import { bench as binapi } from './binapi.js';
import { bench as cni } from './cni.js';
import { bench as encryption } from './encryption.js';
import { bench as fastpath } from './fastpath.js';
import { type Bench, CannotRun, type Figure, valueText } from './figures.js';
import { bench as footprint } from './footprint.js';
import { bench as policies } from './policies.js';
import { bench as recovery } from './recovery.js';
import { bench as removals } from './removals.js';
import { bench as routes } from './routes.js';
import { bench as scale } from './scale.js';
import { bench as services } from './services.js';

const benches: Readonly<Record<string, Bench>> = {
  binapi,
  cni,
  removals,
  recovery,
  footprint,
  scale,
  routes,
  encryption,
  services,
  policies,
  fastpath,
};

const version_ms = 5000;
const widths = [52, 12, 11, 10] as const;

function row(...cells: readonly string[]): string {
  const [name = '', value = '', unit = '', goal = '', ok = ''] = cells;
  return `${name.padEnd(widths[0])} ${value.padStart(widths[1])} ${unit.padEnd(widths[2])} ${goal.padEnd(widths[3])} ${ok}`.trimEnd();
}

function figureRow({ name, value, unit, goal = '', ok }: Figure): string {
  return row(name, valueText(value), unit, goal, ok === undefined ? '' : ok ? 'yes' : 'NO');
}

function figureJson({ name, value, unit, goal, ok }: Figure): string {
  return JSON.stringify({ name, value, unit, goal, ok });
}

/** `vpp v26.10-release built by …`, or why there is none. */
function vppVersion(): string {
  const vpp = findRealVpp();
  if (!vpp.usable) return vpp.why;
  const { stdout, error } = spawnSync(vpp.binary, ['--version'], { encoding: 'utf8', timeout: version_ms });
  return error === undefined
    ? (stdout.trim().split('\n')[0] ?? '')
    : `does not tell its version: ${error.message}`;
}

function machine(): string[] {
  const [cpu, ...others] = cpus();
  return [
    `CPU     ${cpu?.model.trim() ?? 'unknown'}, ${others.length + 1} cores`,
    `kernel  ${release()}`,
    `node    ${process.version} ${process.execArgv.join(' ')}`.trimEnd(),
    `VPP     ${vppVersion()}`,
    `load    ${loadavg()
      .map((load) => load.toFixed(2))
      .join(' ')}`,
  ];
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } },
  });
  const { json, quick } = values;
  const unknown = positionals.filter((name) => benches[name] === undefined);
  if (unknown.length > 0) {
    throw new Error(`there is no benchmark ${unknown.join(', ')}: ${Object.keys(benches).join(', ')}`);
  }
  const say = (text: string): void => {
    if (!json) console.log(text);
  };
  say(`${machine().join('\n')}\n`);
  say(row('figure', 'value', 'unit', 'goal', 'ok'));
  for (const [name, bench] of Object.entries(benches)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    say(`\n${name}`);
    try {
      await bench((figure) => console.log((json ? figureJson : figureRow)(figure)), { quick });
    } catch (error) {
      if (!(error instanceof CannotRun)) throw error;
      console.error(`bench ${name} skipped: ${error.message}`);
    }
  }
}

main().catch((error: Error) => {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
});
