import type { Cell } from './cell.js';
import { inWindow } from './intensity.js';
import type { ActorDetails, TreeNode } from './types.js';

const TYPES_SHOWN = 5;
const EVENTS_SHOWN = 50;

/** Of each actor without children how it was shown last, and all that had moved of it by then. */
const shown = new WeakMap<Cell, { readonly moves: number; readonly node: TreeNode }>();

/** What a cell knows about itself and its children, read from plain fields: works while the actor is stuck. */
export function nodeOf(cell: Cell): TreeNode {
  return make(cell, nodeOf);
}

/** As `nodeOf`, but an actor without children to which nothing has happened since is shown as before, by the same object. */
export function nodeOfMoved(cell: Cell): TreeNode {
  const before = shown.get(cell);
  return before !== undefined && before.moves === movesOf(cell) ? before.node : make(cell, nodeOfMoved);
}

/**
 * Grows with all that is shown of an actor without children, but gauges and what time alone changes; undefined while something waits or is
 * under way.
 */
function movesOf({ mailbox, urgent, life, errors, expired, transitions }: Cell): number | undefined {
  if (life !== undefined && (life.handling !== undefined || life.asks.size > 0)) return undefined;
  if (mailbox.depth + urgent.depth + (life?.children?.cells.size ?? 0) > 0) return undefined;
  return mailbox.handled + mailbox.dropped + errors.count + expired + transitions;
}

function make(cell: Cell, ofChild: (child: Cell) => TreeNode): TreeNode {
  const moves = movesOf(cell);
  const { life, spec, mailbox, urgent } = cell;
  const { clock } = cell.runtime;
  const now_ms = clock.now_ms();
  const children = life?.children;
  const supervision = children?.supervision ?? spec.supervision;
  const window_ms = (cell.supervisor.supervision ?? supervision)?.intensity.window_ms ?? 0;
  const node = {
    path: cell.path,
    name: spec.name,
    id: cell.id,
    restart: spec.restart,
    incarnation: cell.incarnation,
    state: cell.state,
    detail: cell.detail,
    since: cell.since,
    startedAt: cell.startedAt,
    initMs: cell.initMs,
    supervision: supervision && { ...supervision, used: children?.used ?? 0 },
    restarts: { ...cell.restarts, inWindow: inWindow(cell.restartTimes, now_ms, window_ms).length },
    mailbox: {
      depth: mailbox.depth + urgent.depth,
      highWater: mailbox.highWater,
      capacity: spec.mailbox_max,
      oldestMs: Math.max(mailbox.oldest_ms(now_ms), urgent.oldest_ms(now_ms)),
      dropped: mailbox.dropped,
      byType: mailbox.waitingByType(TYPES_SHOWN),
      urgent: urgent.types,
    },
    processed: { total: mailbox.handled, byType: mailbox.handledByType(), expired: cell.expired },
    errors: cell.errors.count,
    handlerMs: {
      p50: cell.durations.quantile_ms(0.5),
      p99: cell.durations.quantile_ms(0.99),
      max: cell.durations.max_ms,
    },
    currentHandler:
      life?.handling === undefined ? undefined : { type: life.handling, ms: now_ms - life.handlingSince_ms },
    asks: [...(life?.asks ?? [])].map(({ target, type, asked_ms }) => ({
      target,
      type,
      ageMs: now_ms - asked_ms,
    })),
    watches: [...(life?.watches ?? [])].map(({ path }) => path),
    gauges: gaugesOf(cell),
    lastError: cell.errors.last,
    children: [...(children?.cells.values() ?? [])].map(ofChild),
  };
  if (moves === undefined) shown.delete(cell);
  else shown.set(cell, { moves, node });
  return node;
}

export function detailsOf(cell: Cell): ActorDetails {
  const events = cell.runtime.events.toArray().filter(({ path }) => path === cell.path);
  return { ...nodeOf(cell), events: events.slice(-EVENTS_SHOWN), errorLog: cell.errors.entries() };
}

/** Gauges are the actor's own code: a mistake there must not cost the whole tree. */
function gaugesOf(cell: Cell): TreeNode['gauges'] {
  try {
    return cell.life?.actor?.gauges?.() ?? {};
  } catch (error) {
    return { error: String(error) };
  }
}
