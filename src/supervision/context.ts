import type { Clock, Timer } from '../clock.js';
import type { Log } from '../log.js';
import { rejected } from './asks.js';
import { Children } from './children.js';
import { ActorDown, toError } from './errors.js';
import type { Life } from './life.js';
import { cellOf, RefOfLife } from './ref.js';
import type { Runtime } from './runtime.js';
import type { ActorContext, ActorRef, ChildSpec, Down, LifeRef, Reply } from './types.js';
import { tellWatcher } from './watches.js';

const NO_TIMER: Timer = { cancel: () => {} };

/** The ActorContext of one life: the same without effect once that life is over. */
export class Context<M> implements ActorContext<M> {
  readonly #life: Life;
  readonly #runtime: Runtime;
  #log: Log | undefined;

  constructor(life: Life, runtime: Runtime) {
    this.#life = life;
    this.#runtime = runtime;
  }

  get self(): ActorRef<M> {
    return this.#life.cell.ref as ActorRef<M>;
  }

  get this_life(): LifeRef<M> {
    return new RefOfLife<M>(this.#runtime, this.#life);
  }

  tellSelf(message: M): void {
    const life = this.#life;
    if (!life.over) life.cell.offer(message, life, true);
  }

  get path(): string {
    return this.#life.path;
  }

  get incarnation(): number {
    return this.#life.incarnation;
  }

  get clock(): Clock {
    return this.#runtime.clock;
  }

  get log(): Log {
    this.#log ??= this.#runtime.log.child({ actor: this.path, gen: this.incarnation });
    return this.#log;
  }

  get signal(): AbortSignal {
    return this.#life.controller.signal;
  }

  spawn<C>(spec: ChildSpec<C>): Promise<ActorRef<C>> {
    if (this.#life.over) return this.#rejected();
    this.#life.children ??= new Children(this.#life, this.#runtime);
    return this.#life.children.spawn(spec);
  }

  stopChild(name: string): Promise<void> {
    return this.#life.children?.stop(name) ?? Promise.resolve();
  }

  child<C>(name: string): ActorRef<C> | undefined {
    const cell = this.#life.children?.cells.get(name);
    return cell === undefined || cell.gone ? undefined : (cell.ref as ActorRef<C>);
  }

  ask<Q, R>(to: ActorRef<Q>, question: (reply: Reply<R>) => Q, within_ms: number): Promise<R> {
    return this.#life.over ? this.#rejected() : this.#runtime.asks.ask(this.#life, to, question, within_ms);
  }

  watch(ref: ActorRef<never>, on: (down: Down) => M): void {
    const life = this.#life;
    if (life.over) return;
    const watch = { path: ref.path, life, on };
    const cell = cellOf(ref);
    if (cell !== undefined) this.#runtime.watches.add(watch);
    const gone: Down = { path: ref.path, incarnation: 0, reason: { kind: 'shutdown' }, restarting: false };
    const down = cell === undefined ? gone : cell.down;
    if (down !== undefined) tellWatcher(watch, down);
  }

  after(ms: number, message: M): Timer {
    const life = this.#life;
    if (life.over) return NO_TIMER;
    const set = this.#runtime.clock.after(ms, () => {
      life.timers.delete(timer);
      this.tellSelf(message);
    });
    const timer: Timer = {
      cancel: () => {
        set.cancel();
        life.timers.delete(timer);
      },
    };
    life.timers.add(timer);
    return timer;
  }

  exit(): void {
    this.#life.cell.exit(this.#life);
  }

  crash(error: Error): void {
    this.#life.cell.crash(this.#life, toError(error));
  }

  event(kind: string, text: string, fields?: Readonly<Record<string, unknown>>): void {
    if (!this.#life.over) this.#life.cell.note(kind, text, fields);
  }

  blockedOn(what: string | undefined): void {
    if (!this.#life.over) this.#life.cell.block(this.#life, what);
  }

  #rejected(): Promise<never> {
    return rejected(new ActorDown(this.path, `incarnation ${this.incarnation} is over`));
  }
}
