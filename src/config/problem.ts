/** One thing wrong with the environment: where, why, and what to do about it. */
export interface Problem {
  /** Name of the environment variable. */
  readonly variable: string;
  /** Place inside a JSON document, e.g. `uplinkInterfaces[1].rxqsz`. */
  readonly path?: string;
  readonly cause: string;
  readonly step: string;
}

export function problemText(problem: Problem): string {
  const place = problem.path ? `${problem.variable} ${problem.path}` : problem.variable;
  return `${place}: ${problem.cause}; ${problem.step}`;
}

/** The environment cannot be used. Holds every problem, not only the first. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(readonly problems: readonly Problem[]) {
    super(
      `the configuration has ${problems.length} problem(s)\n${problems.map((p) => `- ${problemText(p)}`).join('\n')}`,
    );
  }
}

/** A fault of one value, before it is known which variable it belongs to. */
export type Fault = Omit<Problem, 'variable'>;

/** Thrown by the parsers of single values. */
export class BadValue extends Error {
  override readonly name = 'BadValue';
  readonly faults: readonly Fault[];

  constructor(...faults: Fault[]) {
    super(faults.map((fault) => fault.cause).join('; '));
    this.faults = faults;
  }
}
