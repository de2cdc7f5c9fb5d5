import type { Condition } from './conditions.js';
import type { HealthSection } from './protocol.js';

/** A main loop that is silent for longer shows in every answer. */
export const BLOCKED_MS = 1000;
/** A main loop that is silent for longer is given up: the process should be killed. */
export const STUCK_MS = 10_000;

/** One line of a probe's answer. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly since_ms: number | undefined;
  readonly reason: string;
}

/** What a probe is answered from; `health` is missing when nothing readable has been published. */
export interface HealthView {
  readonly health: HealthSection | undefined;
  readonly silent_ms: number;
}

export type ProbeName = 'livez' | 'readyz' | 'startupz';

function loopCheck(silent_ms: number): Check {
  const ok = silent_ms <= STUCK_MS;
  const seconds = Math.floor(silent_ms / 1000);
  return {
    name: 'main-loop',
    ok,
    since_ms: undefined,
    reason: silent_ms <= BLOCKED_MS ? '' : `the main loop has been blocked for ${seconds} s`,
  };
}

const supervisorCheck = (health: HealthSection | undefined): Check => ({
  name: 'supervisor',
  ok: health?.failed === undefined,
  since_ms: undefined,
  reason: health?.failed ?? '',
});

const checkOf = ({ name, ok, since_ms, reason }: Condition): Check => ({ name, ok, since_ms, reason });

const unpublished: Check = {
  name: 'conditions',
  ok: false,
  since_ms: undefined,
  reason: 'the readiness conditions cannot be read',
};

/**
 * What each probe looks at. Liveness never fails for VPP, the API server or Felix: a restart would heal none of them, and
 * would take the node's network down.
 */
export const probes: Readonly<Record<ProbeName, (view: HealthView) => readonly Check[]>> = {
  livez: ({ health, silent_ms }) => [loopCheck(silent_ms), supervisorCheck(health)],
  readyz: ({ health, silent_ms }) => [
    loopCheck(silent_ms),
    supervisorCheck(health),
    ...(health?.conditions.map(checkOf) ?? [unpublished]),
  ],
  startupz: ({ health }) => [
    {
      name: 'started',
      ok: health?.started ?? false,
      since_ms: undefined,
      reason: health?.started
        ? ''
        : `has not been ready yet: ${firstFault(health?.conditions.map(checkOf) ?? [unpublished])}`,
    },
  ],
};

function firstFault(checks: readonly Check[]): string {
  const fault = checks.find(({ ok }) => !ok);
  return fault === undefined ? '' : `${fault.name}: ${fault.reason}`;
}

const good: Readonly<Record<ProbeName, string>> = { livez: 'OK', readyz: 'Ready', startupz: 'OK' };
const bad: Readonly<Record<ProbeName, string>> = {
  livez: 'Unhealthy',
  readyz: 'Not ready',
  startupz: 'Not started',
};

/** One line, in the words of the Go implementation; with `verbose` a line for each check. */
export function probeText(
  probe: ProbeName,
  checks: readonly Check[],
  options: { readonly verbose: boolean; readonly exclude: readonly string[] },
): { readonly ok: boolean; readonly text: string } {
  const counted = checks.filter(({ name }) => !options.exclude.includes(name));
  const fault = firstFault(counted);
  const ok = fault === '';
  const verdict = ok ? good[probe] : `${bad[probe]}: ${fault}`;
  if (!options.verbose) return { ok, text: `${verdict}\n` };
  const lines = checks.map(({ name, ok: holds, since_ms, reason }) => {
    if (options.exclude.includes(name)) return `[+]${name} excluded: ok`;
    const since = since_ms === undefined ? '' : ` since ${new Date(since_ms).toISOString()}`;
    return `[${holds ? '+' : '-'}]${name} ${holds ? 'ok' : 'failed'}${since}${reason === '' ? '' : `: ${reason}`}`;
  });
  const unknown = options.exclude.filter((name) => !checks.some((check) => check.name === name));
  if (unknown.length > 0) lines.push(`warn: no check is called ${unknown.join(', ')}`);
  return { ok, text: `${[...lines, verdict].join('\n')}\n` };
}
