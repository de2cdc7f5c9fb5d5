/**
 * VPP's sessions of a pod, a service or the node, as they are now. cnat has one for each direction of a flow, and writes them to VPP's command line
 * alone: the dump of its API has neither what becomes of the addresses nor the age. There `show cnat session` filters by address, and steps aside
 * between two entries; the API's own way to the command line would hold up everybody else.
 */
import { table } from '../debug/table.js';

/** Of a packet. */
export interface Tuple {
  readonly protocol: string;
  /** `10.0.0.1 80`, or the address alone where the protocol has no ports. */
  readonly source: string;
  readonly destination: string;
}

export interface Flow {
  /** As its first packet came. */
  readonly before: Tuple;
  /** As packets of that direction leave. */
  readonly after: Tuple;
  /** `denied`: by policies, or for want of a port; VPP drops its packets. */
  readonly verdict: 'passed' | 'denied';
  /** Directions that VPP has a session for. */
  readonly directions: 'both' | 'there' | 'back';
  /** Since its last packet. */
  readonly idle_s: number;
  /** Until VPP forgets it, if no packet comes. */
  readonly left_s: number;
}

const head_pattern = /now:(\d+(?:\.\d+)?)/;
const tuple_text = String.raw`(\S+) \[(\S+);(\d+) -> (\S+);(\d+)\]`;
const session_pattern = new RegExp(`^${tuple_text} => \\[(.*)\\]`);
const index_pattern = /^\s*index:(\d+) fib:(\d+)/;
const times_pattern = /last_seen:(\d+) lifetime:(\d+)/;
const rewrite_pattern = new RegExp(`^\\s*\\[\\s*(in|out|fib|rin|rout|rfib)\\s*\\] ${tuple_text} node:(\\d+)`);

/** Of a rewrite: packets end here. */
const drop_node = 0;

interface Session {
  readonly tuple: Tuple;
  readonly is_return: boolean;
  index: string;
  last_seen: number;
  lifetime: number;
  readonly rewrites: Map<string, { readonly tuple: Tuple; readonly node: number }>;
}

function tupleOf([protocol, source, sport, destination, dport]: readonly string[]): Tuple {
  const end = (address = '', port = '0'): string => (port === '0' ? address : `${address} ${port}`);
  return { protocol: protocol!, source: end(source, sport), destination: end(destination, dport) };
}

const turned = ({ protocol, source, destination }: Tuple): Tuple => ({
  protocol,
  source: destination,
  destination: source,
});

function sessionsIn(text: string): readonly Session[] {
  const sessions: Session[] = [];
  for (const line of text.split('\n')) {
    const begins = session_pattern.exec(line.trimEnd());
    if (begins !== null) {
      sessions.push({
        tuple: tupleOf(begins.slice(1, 6)),
        is_return: begins[6]!.includes('return'),
        index: '',
        last_seen: 0,
        lifetime: 0,
        rewrites: new Map(),
      });
      continue;
    }
    const session = sessions.at(-1);
    if (session === undefined) continue;
    const index = index_pattern.exec(line);
    if (index !== null) session.index = index[1]!;
    const times = times_pattern.exec(line);
    if (times !== null) {
      session.last_seen = Number(times[1]);
      session.lifetime = Number(times[2]);
    }
    const rewrite = rewrite_pattern.exec(line);
    if (rewrite !== null)
      session.rewrites.set(rewrite[1]!, { tuple: tupleOf(rewrite.slice(2, 7)), node: Number(rewrite[7]) });
  }
  return sessions;
}

/** VPP does not have the command, or says something else: what it said is in the message. */
export class NoSessions extends Error {}

/** What VPP writes to `show cnat session verbose 1`. Throws NoSessions. */
export function flowsIn(text: string): readonly Flow[] {
  const now = head_pattern.exec(text)?.[1];
  if (now === undefined)
    throw new NoSessions(
      `VPP does not show its sessions as it is expected to (${text.trim().slice(0, 200) || 'nothing'}): look at \`vppctl show cnat session verbose 1 max 50\``,
    );
  const by_index = new Map<string, Session[]>();
  for (const session of sessionsIn(text)) {
    const known = by_index.get(session.index);
    if (known === undefined) by_index.set(session.index, [session]);
    else if (known.every(({ is_return }) => is_return !== session.is_return)) known.push(session);
  }
  return [...by_index.values()].map((sessions) => flowOf(sessions, Number(now)));
}

function flowOf(sessions: readonly Session[], now: number): Flow {
  const there = sessions.find(({ is_return }) => !is_return);
  const back = sessions.find(({ is_return }) => is_return);
  const { rewrites, last_seen, lifetime } = (there ?? back)!;
  const tuple = (name: string): Tuple | undefined => rewrites.get(name)?.tuple;
  const reversed = (of: Tuple | undefined): Tuple | undefined => of && turned(of);
  // What the answers are turned back into is how the first packet came.
  const before = there?.tuple ?? reversed(tuple('rout') ?? tuple('rin')) ?? turned(back!.tuple);
  const after = tuple('out') ?? tuple('in') ?? reversed(back?.tuple) ?? before;
  const idle_s = Math.max(0, Math.round(now - last_seen));
  return {
    before,
    after,
    verdict: [...rewrites.values()].some(({ node }) => node === drop_node) ? 'denied' : 'passed',
    directions: there === undefined ? 'back' : back === undefined ? 'there' : 'both',
    idle_s,
    left_s: Math.max(0, lifetime - idle_s),
  };
}

/** The same flow may be found by two of its addresses. */
export function distinct(flows: readonly Flow[]): readonly Flow[] {
  const keyOf = ({ before }: Flow): string => `${before.protocol} ${before.source} ${before.destination}`;
  return [...new Map(flows.map((flow) => [keyOf(flow), flow])).values()];
}

/** For a terminal; `unshown`: VPP has more than it was asked for. */
export function flowsText(flows: readonly Flow[], unshown: boolean): string {
  const same = (a: string, b: string): string => (a === b ? '=' : b);
  const rows = flows.map(({ before, after, verdict, directions, idle_s, left_s }) => [
    before.protocol,
    before.source,
    before.destination,
    same(before.source, after.source),
    same(before.destination, after.destination),
    verdict,
    directions,
    `${idle_s}s`,
    `${left_s}s`,
  ]);
  const head = ['PROTOCOL', 'FROM', 'TO', 'BECOMES FROM', 'BECOMES TO', 'VERDICT', 'SEEN', 'IDLE', 'LEFT'];
  const lines = flows.length === 0 ? ['no flows'] : table([head, ...rows]);
  return `${[...lines, ...(unshown ? ['there are more: raise --max'] : [])].join('\n')}\n`;
}
