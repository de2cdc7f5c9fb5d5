import type { Cell } from './cell.js';
import type { Life } from './life.js';
import { typeOf } from './mailbox.js';
import type { Runtime } from './runtime.js';
import type { ActorRef, LifeRef } from './types.js';

/** An address by path that remembers whom it reached last, so that telling costs no look-up. */
export class Ref<in M> implements ActorRef<M> {
  readonly path: string;
  readonly #runtime: Runtime;
  #cell: Cell | undefined;

  constructor(runtime: Runtime, path: string) {
    this.#runtime = runtime;
    this.path = path;
  }

  /** Who lives at the path now. */
  cell(): Cell | undefined {
    if (this.#cell === undefined || this.#cell.gone) this.#cell = this.#runtime.cells.get(this.path);
    return this.#cell;
  }

  tell(message: M): boolean {
    const cell = this.cell();
    if (cell !== undefined) return cell.offer(message, null, false) === 'queued';
    return this.#nobody(message);
  }

  tellUrgent(message: M): boolean {
    return this.cell()?.offerFirst(message) ?? this.#nobody(message);
  }

  #nobody(message: M): false {
    this.#runtime.totals.deadLetters += 1;
    this.#runtime.log.debug({ actor: this.path, type: typeOf(message) }, 'message(drop) nobody lives there');
    return false;
  }
}

/** See LifeRef. */
export class RefOfLife<in M> extends Ref<M> implements LifeRef<M> {
  readonly incarnation: number;
  readonly #life: Life;

  constructor(runtime: Runtime, life: Life) {
    super(runtime, life.path);
    this.incarnation = life.incarnation;
    this.#life = life;
  }

  override cell(): Cell | undefined {
    return this.#life.ending === undefined ? this.#life.cell : undefined;
  }
}

/** The cell behind a reference of this system. */
export function cellOf(ref: ActorRef<never>): Cell | undefined {
  if (ref instanceof Ref) return ref.cell();
  throw new TypeError(`${ref.path} is no reference of an actor system`);
}
