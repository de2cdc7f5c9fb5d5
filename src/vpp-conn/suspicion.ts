/**
 * What VPP may be dying of, and how whoever is suspected of it is carried out: alone. It waits until nothing else is on its way, on either
 * connection; everybody else waits for it, and for a while after its answer; then it is acquitted.
 */
import type { Clock, Timer } from '../clock.js';
import { keyOf, type VppObject } from '../objects/object.js';
import type { Operation } from '../reconcile/operation.js';
import type { Subject, Transaction } from '../reconcile/transaction.js';
import type { Flight, Flights } from './flight.js';
import type { Lane, Run } from './lane.js';
import { type Quarantine, QuarantinedError, type Suspect } from './quarantine.js';

/**
 * How long a suspect stays alone after its answer. A crash in a handler leaves no answer; one by a packet comes when it comes. Then VPP has
 * to answer once more: one that writes its core file is silent for seconds before its connections end.
 */
const probation_ms = { suspect: 20, 'slow suspect': 250 } as const;
/** What VPP answered this short before it was heard last is suspect when nothing was on its way. */
const recent_ms = 1000;
/** Subjects: a pod is one, whatever it is made of. Each is alone for its probation when VPP is there again: four seconds in all. */
const recent_max = 16;

export interface SuspicionParts {
  readonly quarantine: Quarantine;
  readonly clock: Clock;
  /** When VPP was heard last, by the same clock; absent: just now. One that hangs has died then, not when it was found out. */
  readonly heard_ms?: () => number;
  /** Resolves when VPP has answered a question of now; rejects when it has not in time. Absent: it does at once. */
  readonly answers?: () => Promise<unknown>;
}

/** A suspect that is, or waits to be, the only one. */
interface Alone {
  readonly run: Run;
  readonly subject: Subject;
  phase: 'waiting' | 'sent' | 'answered';
}

/** The last of a subject that VPP has answered. */
interface Answered {
  /** By name, or the object that stands for itself. */
  readonly whose: string | VppObject;
  readonly flight: Flight;
}

export class Suspicion {
  readonly #parts: SuspicionParts;
  readonly #flights: Flights;
  /** Others may go on. */
  readonly #free: () => void;
  /** The latest at the end. */
  readonly #recent: Answered[] = [];
  #alone: Alone | undefined;
  #probation: Timer | undefined;
  #ended = false;

  constructor(parts: SuspicionParts, flights: Flights, free: () => void) {
    this.#parts = parts;
    this.#flights = flights;
    this.#free = free;
  }

  /** What VPP may be dying of: what is on its way, or what it answered last. */
  suspects(): Suspect[] {
    if (this.#alone?.phase === 'answered') return [{ ...this.#alone.subject, answered: true }];
    const under_way = [...this.#flights].filter(({ run }) => run.transaction.essential !== true);
    const answered = under_way.length === 0;
    const suspects = new Map<string, Suspect>();
    for (const { run, operation } of answered ? this.#answeredLast() : under_way) {
      const subject = subjectOf(run.transaction, operation);
      suspects.set(subject.name, { ...subject, answered });
    }
    return [...suspects.values()];
  }

  #answeredLast(): Flight[] {
    const { clock, heard_ms } = this.#parts;
    const since_ms = Math.floor(heard_ms?.() ?? clock.now_ms()) - recent_ms;
    return this.#recent.flatMap(({ flight }) => (flight.answered_ms >= since_ms ? flight : []));
  }

  remember(flight: Flight): void {
    const recent = this.#recent;
    const { run, operation } = flight;
    if (run.transaction.essential === true) return;
    const whose = run.transaction.subject?.name ?? operation.object;
    flight.answered_ms = Math.floor(this.#parts.clock.now_ms());
    for (let at = recent.length - 1; at >= 0; at -= 1) {
      if (recent[at]!.whose !== whose) continue;
      recent.splice(at, 1);
      break;
    }
    if (recent.length === recent_max) recent.shift();
    recent.push({ whose, flight });
  }

  /** Why this is not sent at all. */
  convicted({ transaction, refused_undo }: Run, operation: Operation): QuarantinedError | undefined {
    const { quarantine } = this.#parts;
    if (quarantine.empty || transaction.essential === true || refused_undo !== undefined) return undefined;
    const subject = subjectOf(transaction, operation);
    if (quarantine.judge(subject) !== 'convicted') return undefined;
    return new QuarantinedError(
      `${subject.name}: VPP died twice while it was programmed; change or delete it`,
    );
  }

  /** Whether somebody is, or waits to be, alone. */
  get isAlone(): boolean {
    return this.#alone !== undefined;
  }

  /** Who is alone, when it is its turn on this lane. */
  turnOn(lane: Lane): Run | undefined {
    const alone = this.#alone!;
    if (alone.run.lane !== lane) return undefined;
    const may_send = alone.phase === 'sent' ? alone.run.is_whole : alone.phase === 'waiting';
    if (!may_send || (alone.phase === 'waiting' && this.#flights.size > 0)) return undefined;
    return lane.take(alone.run);
  }

  /** False: it is a suspect, and not its turn before it is alone. */
  admits(run: Run, operation: Operation): boolean {
    const { quarantine } = this.#parts;
    if (quarantine.empty || run.transaction.essential === true || run.refused_undo !== undefined) return true;
    if (this.#alone !== undefined) {
      if (this.#alone.phase === 'waiting') this.#alone.phase = 'sent';
      return true;
    }
    const subject = subjectOf(run.transaction, operation);
    const verdict = quarantine.judge(subject);
    if (verdict !== 'suspect' && verdict !== 'slow suspect') return true;
    this.#alone = { run, subject, phase: 'waiting' };
    return false;
  }

  /** It has sent the one object that it is alone for. */
  hasSentIts(run: Run): boolean {
    return this.#alone?.run === run && !run.is_whole;
  }

  /** What it is a suspect for will not be sent. */
  waitNoMore(run: Run): void {
    if (this.#alone?.run === run && this.#alone.phase === 'waiting') this.#alone = undefined;
  }

  /** The suspect is alone for a while longer; whoever then has not killed VPP is acquitted. */
  landed(run: Run): void {
    const alone = this.#alone;
    if (alone?.run !== run || alone.phase !== 'sent' || run.in_flight > 0) return;
    if (run.is_whole && !run.over) return;
    alone.phase = 'answered';
    this.#probe(alone);
  }

  /** Again and again, for as long as the session lasts. */
  #probe(alone: Alone): void {
    const { quarantine, clock, answers } = this.#parts;
    const verdict = quarantine.judge(alone.subject);
    const wait_ms = verdict === 'slow suspect' ? probation_ms['slow suspect'] : probation_ms.suspect;
    this.#probation = clock.after(wait_ms, async () => {
      const alive = answers === undefined || (await answers().then(isTrue, isFalse));
      if (this.#ended) return;
      if (!alive) return this.#probe(alone);
      quarantine.acquit(alone.subject);
      this.#alone = undefined;
      this.#free();
    });
  }

  end(): void {
    this.#ended = true;
    this.#probation?.cancel();
  }
}

const isTrue = (): boolean => true;
const isFalse = (): boolean => false;

function subjectOf({ subject }: Transaction, { action, object }: Operation): Subject {
  return subject ?? { name: keyOf(object), content: `${action} ${JSON.stringify(object)}` };
}
