import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { AskTable } from './asks.js';
import type { Cell } from './cell.js';
import type { Ring } from './ring.js';
import type { Counters, Event, Supervision } from './types.js';
import type { Watches } from './watches.js';

/** Travels with a message; a message whose mark has expired is not handled any more. */
export interface Postmark {
  expired(): boolean;
  /** Set on the question that asks an actor to describe itself: it goes past `receive`. */
  readonly describe?: ((view: () => unknown) => void) | undefined;
}

/** Takes one message; the next one is given when it returns, or when the promise has settled. Never throws or rejects. */
export type Receive = (message: unknown, mark: Postmark | null) => void | Promise<void>;

/** A first-in-first-out queue in front of a Receive: all that this layer needs of an actor library. */
export interface Mailbox {
  readonly id: string;
  post(message: unknown, mark: Postmark | null): void;
  /** Throws away what waits. A message that is being handled is not interrupted. */
  close(): void;
}

export type Totals = { -readonly [K in Exclude<keyof Counters, 'actors' | 'asks'>]: number };

/** What all actors of one system share. */
export interface Runtime {
  readonly clock: Clock;
  /** [0, 1) */
  readonly random: () => number;
  readonly log: Log;
  readonly totals: Totals;
  readonly events: Ring<Event>;
  /** Living actors by path. */
  readonly cells: Map<string, Cell>;
  readonly asks: AskTable;
  readonly watches: Watches;
  openMailbox(receive: Receive): Mailbox;
}

/** For actors that name nothing else: tolerates a burst, yet stays calm in the log. */
export const defaultSupervision: Supervision = {
  strategy: 'one_for_one',
  intensity: { restarts_max: 5, window_ms: 30_000 },
  backoff: { first_ms: 100, max_ms: 5_000, jitter: 0.2 },
};
