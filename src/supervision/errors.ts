/** Errors of the actor system. `code` is for programs, the message names the actor and what to do. */
export abstract class SupervisionError extends Error {
  abstract readonly code: string;
  override get name(): string {
    return this.constructor.name;
  }
}

/** The actor asked, told or waited for has crashed, stopped, or never lived there. */
export class ActorDown extends SupervisionError {
  readonly code = 'ACTOR_DOWN';
  constructor(
    readonly path: string,
    why: string,
    options?: ErrorOptions,
  ) {
    super(`actor ${path} is down: ${why}`, options);
  }
}

export class AskDeadline extends SupervisionError {
  readonly code = 'ASK_DEADLINE';
  constructor(
    readonly path: string,
    readonly type: string,
    readonly within_ms: number,
  ) {
    super(`actor ${path} did not answer ${type} within ${within_ms} ms: see its current handler in the tree`);
  }
}

export class MailboxFull extends SupervisionError {
  readonly code = 'MAILBOX_FULL';
  constructor(
    readonly path: string,
    readonly capacity: number,
  ) {
    super(`mailbox of actor ${path} is full (${capacity} messages): try again later, or send it less`);
  }
}

export class WatchdogTimeout extends SupervisionError {
  readonly code = 'WATCHDOG_TIMEOUT';
  constructor(
    readonly path: string,
    readonly type: string,
    readonly ms: number,
  ) {
    super(`actor ${path} has been handling ${type} for ${Math.round(ms)} ms: its incarnation is abandoned`);
  }
}

export class StartTimeout extends SupervisionError {
  readonly code = 'START_TIMEOUT';
  constructor(
    readonly path: string,
    readonly ms: number,
  ) {
    super(`actor ${path} did not start within ${ms} ms: its incarnation is abandoned`);
  }
}

export class ShutdownTimeout extends SupervisionError {
  readonly code = 'SHUTDOWN_TIMEOUT';
  constructor(
    readonly path: string,
    readonly what: string,
    readonly ms: number,
  ) {
    super(`actor ${path} did not stop within ${ms} ms (${what}): its incarnation is abandoned`);
  }
}

/** A supervisor's children crashed more often than it may restart them; for its own supervisor it has crashed. */
export class IntensityExceeded extends SupervisionError {
  readonly code = 'INTENSITY_EXCEEDED';
  constructor(
    readonly path: string,
    readonly child: string,
    intensity: { readonly restarts_max: number; readonly window_ms: number },
    options: ErrorOptions,
  ) {
    super(
      `supervisor ${path} gives up: more than ${intensity.restarts_max} restarts in ${intensity.window_ms} ms, the last of ${child}`,
      options,
    );
  }
}

export class NameTaken extends SupervisionError {
  readonly code = 'NAME_TAKEN';
  constructor(readonly path: string) {
    super(`actor ${path} exists already: stop it first, or take another name`);
  }
}

/** Whatever was thrown, as an Error. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`thrown: ${String(thrown)}`, { cause: thrown });
}

/** A short word for programs and for counting: the error's own code, else its class. */
export function codeOf(error: Error): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' || typeof code === 'number' ? String(code) : error.name;
}
