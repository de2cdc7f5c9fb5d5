/** Reads what VPP holds, one reading at a time. */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { CniMessage } from '../messages/cni.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { Scope, Snapshot } from '../reconcile/snapshot.js';

/** With the host ports, which are among the translations, and with what refers to interfaces that are gone. */
const everything: readonly Scope[] = ['pods', 'pod_routes', 'services', 'nobody'];
/** What an audit looks at: nothing that grows with what other owners have. */
const own: readonly Scope[] = ['pods'];

const read_ms = 10_000;
const read_again_ms = 1000;

export class VppReader {
  readonly #ctx: ActorContext<CniMessage>;
  readonly #vpp: ActorRef<VppConnectionMessage>;
  #reads = 0;
  #under_way: number | undefined;
  #again = false;

  constructor(ctx: ActorContext<CniMessage>, vpp: ActorRef<VppConnectionMessage>) {
    this.#ctx = ctx;
    this.#vpp = vpp;
  }

  /** Has Snapshot told. `fresh`: of now, not of a reading that has begun earlier. `audit`: without routes and host ports. */
  read({ fresh = false, audit = false } = {}): void {
    if (this.#under_way !== undefined) {
      this.#again ||= fresh;
      return;
    }
    const ctx = this.#ctx;
    this.#reads += 1;
    const read = this.#reads;
    this.#under_way = read;
    const asked_ms = ctx.clock.now_ms();
    const tell = (snapshot: Snapshot | Error): void => {
      ctx.tellSelf({ type: 'Snapshot', read, asked_ms, audit, snapshot });
    };
    ctx
      .ask<VppConnectionMessage, Snapshot>(
        this.#vpp,
        (reply) => ({ type: 'Read', scopes: audit ? own : everything, reply }),
        read_ms,
      )
      .then(tell, tell);
  }

  /** What came of a reading; undefined when it is void, or has to be tried again (ReadAgain). */
  result(read: number, snapshot: Snapshot | Error): Snapshot | undefined {
    if (this.#under_way !== read) return undefined;
    this.#under_way = undefined;
    if (!(snapshot instanceof Error)) return snapshot;
    this.#ctx.log.warn({ err: snapshot }, 'pods(read) VPP does not tell what it holds');
    this.#ctx.after(read_again_ms, { type: 'ReadAgain' });
    return undefined;
  }

  /** Reads once more if a fresh reading was asked for during the last one. */
  readAgain(): void {
    if (this.#again) this.read();
    this.#again = false;
  }

  /** The reading under way is void. */
  forget(): void {
    this.#under_way = undefined;
    this.#again = false;
  }
}
