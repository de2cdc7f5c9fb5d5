import t from 'tap';
import type { Actor, ActorContext, ChildSpec, Restart, Strategy, TreeNode } from '../../src/actor-system.js';
import { supervision } from '../kit/actor-kit.js';
import { BOOM, NOTE, type Probe, type World, world } from '../kit/world.js';

/** Numerical Recipes' generator: the same numbers in every run. */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** What a life of the tree under test is doing, as the actor itself sees it. */
interface Alive {
  readonly name: string;
  handling: number;
}

/** Children that note every life they begin and end, and hold on to their messages for a random time. */
class Watched {
  readonly alive = new Map<string, Alive>();
  readonly faults: string[] = [];

  constructor(
    readonly w: World,
    readonly dice: (below: number) => number,
  ) {}

  spec(
    name: string,
    restart: Restart,
    strategy: Strategy,
    children: readonly ChildSpec<Probe>[] = [],
  ): ChildSpec<Probe> {
    const base = this.w.probe(name, {
      restart,
      shutdown_ms: 60_000,
      supervision: supervision({ strategy, intensity: { restarts_max: 4, window_ms: 5_000 } }),
    });
    return { ...base, start: (ctx) => this.#start(base, ctx, children) };
  }

  async #start(
    base: ChildSpec<Probe>,
    ctx: ActorContext<Probe>,
    children: readonly ChildSpec<Probe>[],
  ): Promise<Actor<Probe>> {
    await ctx.clock.sleep(this.dice(40), ctx.signal);
    if (this.dice(6) === 0 && ctx.incarnation > 1) throw new Error('does not start');
    for (const child of children) await ctx.spawn(child);
    const actor = await base.start(ctx);
    if (this.alive.has(ctx.path)) this.faults.push(`two lives of ${ctx.path} at once`);
    const life: Alive = { name: ctx.path, handling: 0 };
    this.alive.set(ctx.path, life);
    return {
      receive: async (message) => {
        life.handling += 1;
        if (life.handling > 1) this.faults.push(`two handlers of ${ctx.path} at once`);
        if (this.alive.get(ctx.path) !== life) this.faults.push(`a message for a former life of ${ctx.path}`);
        try {
          await ctx.clock.sleep(this.dice(30));
          await actor.receive(message);
        } finally {
          life.handling -= 1;
        }
      },
      stop: (reason) => {
        for (const path of this.alive.keys()) {
          if (path.startsWith(`${ctx.path}/`))
            this.faults.push(`${ctx.path} stopped before its child ${path}`);
        }
        this.alive.delete(ctx.path);
        return actor.stop?.(reason);
      },
    };
  }
}

/** Without what time alone changes. */
function unaged(tree: TreeNode): string {
  return JSON.stringify(tree, (key, value: unknown) => (key === 'inWindow' ? undefined : value));
}

function flat(node: TreeNode): TreeNode[] {
  return [node, ...node.children.flatMap(flat)];
}

t.test('under crashes, stops and restarts at any moment the promises of the tree hold', async (t) => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const dice = chance(seed);
    const strategy = (['one_for_one', 'rest_for_one', 'one_for_all'] as const)[seed % 3]!;
    const w = world(t, {
      supervision: supervision({ strategy, intensity: { restarts_max: 1000, window_ms: 1_000 } }),
    });
    const watched = new Watched(w, dice);
    const specs = [
      watched.spec('a', 'permanent', 'one_for_one'),
      watched.spec('p', 'permanent', 'rest_for_one', [
        watched.spec('x', 'permanent', 'one_for_one'),
        watched.spec('y', 'transient', 'one_for_one'),
      ]),
      watched.spec('z', 'permanent', 'one_for_all', [watched.spec('q', 'temporary', 'one_for_one')]),
    ];
    const spawned = Promise.all(specs.map((spec) => w.system.spawn(spec)));
    await w.clock.advance(1000);
    await spawned;
    const paths = ['a', 'p', 'p/x', 'p/y', 'z', 'z/q'];
    for (let step = 0; step < 60; step += 1) {
      const path = paths[dice(paths.length)]!;
      switch (dice(6)) {
        case 0:
          w.ref(path).tell(BOOM);
          break;
        case 1:
          w.system.crash(`root/${path}`, new Error('crash'));
          break;
        case 2:
          w.system.restart(`root/${path}`);
          break;
        case 3:
          if (dice(4) === 0) w.ref('p').tell({ type: 'do', run: (ctx) => ctx.stopChild('y') });
          break;
        default:
          w.ref(path).tell(NOTE(step));
      }
      await w.clock.advance(dice(60));
      const moved = unaged(w.system.treeMoved());
      if (moved !== unaged(w.system.tree())) t.fail(`seed ${seed}: something has moved unseen: ${moved}`);
    }
    await w.clock.advance(120_000);
    t.same(watched.faults, [], `seed ${seed} ${strategy}`);
    const top = w.system.tree().children;
    t.same(
      top.map(({ name, state }) => `${name} ${state}`),
      ['a running', 'p running', 'z running'],
      `seed ${seed}: all that is permanent has come back, in its order`,
    );
    for (const node of flat(w.system.tree())) {
      if (!['running', 'failed'].includes(node.state)) t.fail(`seed ${seed}: ${node.path} is ${node.state}`);
      if (node.state === 'running' && node.mailbox.depth > 0)
        t.fail(`seed ${seed}: ${node.path} does not work`);
      if (node.state === 'running' && node.path !== 'root' && !watched.alive.has(node.path))
        t.fail(`${node.path} is a ghost`);
    }
    t.equal(w.system.counters().abandoned, 0);
    t.equal(w.clock.pending, 0, `seed ${seed}: no timer is left`);
  }
});
