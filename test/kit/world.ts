import type { ActorContext, ActorRef, ChildSpec, Down, Reply, TreeNode } from '../../src/actor-system.js';
import { KitBase, type KitOptions, supervision, type Teardown } from './actor-kit.js';

/** What a probe does on request. */
export type Probe =
  | { type: 'note'; n: number }
  | { type: 'boom'; error?: Error }
  | { type: 'hang'; until?: Promise<void> }
  | { type: 'exit' }
  | { type: 'down'; down: Down }
  | { type: 'question'; reply: Reply<string> }
  | { type: 'later'; reply: Reply<string> }
  | { type: 'do'; run: (ctx: ActorContext<Probe>) => void | Promise<void> };

/** Holds a handler until the test opens it. */
export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

export function gate(): Gate {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** What happened, in order: `a1+` start, `a1-shutdown` stop, `a1:5` message 5. */
export class World extends KitBase {
  readonly seen: string[] = [];

  probe(
    name: string,
    changes: Partial<ChildSpec<Probe>> = {},
    children: readonly ChildSpec<Probe>[] = [],
  ): ChildSpec<Probe> {
    return {
      name,
      restart: 'permanent',
      shutdown_ms: 1000,
      mailbox_max: 100,
      handler_ms_max: 5000,
      supervision: supervision(),
      start: async (ctx) => {
        const id = `${name}${ctx.incarnation}`;
        for (const child of children) await ctx.spawn(child);
        this.seen.push(`${id}+`);
        return {
          receive: (message) => this.#receive(id, message, ctx),
          stop: (reason) => void this.seen.push(`${id}-${reason.kind}`),
        };
      },
      ...changes,
    };
  }

  #receive(id: string, message: Probe, ctx: ActorContext<Probe>): void | Promise<void> {
    switch (message.type) {
      case 'note':
        this.seen.push(`${id}:${message.n}`);
        return undefined;
      case 'boom':
        throw message.error ?? new Error('boom');
      case 'hang':
        return message.until ?? new Promise(() => {});
      case 'exit':
        return ctx.exit();
      case 'down':
        this.seen.push(`${id}!${message.down.path} ${message.down.reason.kind} ${message.down.restarting}`);
        return undefined;
      case 'question':
        return message.reply.resolve(`${id} here`);
      case 'later':
        return undefined;
      case 'do':
        return message.run(ctx);
    }
  }

  /** What was seen since the last call. */
  take(): string[] {
    return this.seen.splice(0);
  }

  async spawn(...specs: ChildSpec<Probe>[]): Promise<void> {
    for (const spec of specs) await this.system.spawn(spec);
    await this.settle();
  }

  async tell(name: string, ...messages: Probe[]): Promise<boolean[]> {
    const told = messages.map((message) => this.ref(name).tell(message));
    await this.settle();
    return told;
  }

  ref(name: string): ActorRef<Probe> {
    return this.system.ref<Probe>(`root/${name}`);
  }

  node(name: string): TreeNode {
    const find = (node: TreeNode): TreeNode | undefined =>
      node.path === `root/${name}` ? node : node.children.map(find).find((found) => found !== undefined);
    return find(this.system.tree())!;
  }
}

/** A tree for one test; when the test is over the tree stops and must have left nothing behind. */
export function world(t: Teardown, options: KitOptions = {}): World {
  const made = new World(options);
  t.teardown(async () => {
    const stopped = made.system.stop();
    await made.clock.advance(600_000);
    await stopped;
    const { actors, asks } = made.system.counters();
    if (actors + asks + made.clock.pending > 0) {
      throw new Error(`left behind: ${actors} actors, ${asks} asks, ${made.clock.pending} timers`);
    }
  });
  return made;
}

export const NOTE = (n: number): Probe => ({ type: 'note', n });
export const BOOM: Probe = { type: 'boom' };
