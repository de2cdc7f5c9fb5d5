/** What goes over the channel between the machine and who runs it: JSON, a line each. */

export interface Request {
  /** From 1. */
  readonly id: number;
  /** For bash. */
  readonly script: string;
  /** In base64. */
  readonly input: string;
  readonly timeout_ms: number;
}

/** 0 as `id`: the machine has booted. */
export interface Answer {
  readonly id: number;
  /** Null: it was ended by a signal. */
  readonly code: number | null;
  /** Both streams as they came. */
  readonly output: string;
}
