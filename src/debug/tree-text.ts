import { stripVTControlCharacters } from 'node:util';
import { durationText } from './duration.js';
import type { ShownNode } from './tree-filter.js';

export interface TreeTextOptions {
  /** Milliseconds since 1970, for ages. */
  readonly now_ms: number;
  /** Box-drawing characters; plain ASCII otherwise. True unless given. */
  readonly unicode?: boolean;
  /** Columns of the terminal: longer lines are cut. Absent: lines are as long as they are. */
  readonly columns?: number;
}

interface Strokes {
  readonly branch: string;
  readonly last: string;
  readonly pass: string;
  readonly gap: string;
  /** Ends a text that was cut. */
  readonly cut: string;
  readonly times: string;
}

const UNICODE: Strokes = { branch: '├─ ', last: '└─ ', pass: '│  ', gap: '   ', cut: '…', times: '×' };
const ASCII: Strokes = { branch: '|- ', last: '`- ', pass: '|  ', gap: '   ', cut: '~', times: 'x' };

/** A gauge that is longer does not widen its column. */
const GAUGE_WIDE = 24;
const TEXT_MAX = 60;
/** Younger handlers and questions are business as usual. */
const OLD_MS = 100;

interface Row {
  /** Name with the lines before it, state, strategy, time, restarts: aligned. */
  readonly fixed: readonly string[];
  /** Aligned where short. */
  readonly gauges: readonly string[];
  readonly notes: readonly string[];
}

/** The texts of actors come from anywhere; a terminal must not obey them. */
function harmless(text: string, cut: string): string {
  const safe = stripVTControlCharacters(text)
    .replace(/\p{Cc}+/gu, ' ')
    .trim();
  return safe.length <= TEXT_MAX ? safe : `${safe.slice(0, TEXT_MAX - 1)}${cut}`;
}

const isUp = (node: ShownNode): boolean => node.state === 'running' || node.state === 'blocked';

function notesOf(node: ShownNode, now_ms: number, { cut, times }: Strokes): string[] {
  const notes: string[] = [];
  const { mailbox, currentHandler, restarts, lastError } = node;
  if (node.detail !== undefined) notes.push(harmless(node.detail, cut));
  if (mailbox.depth > 0) {
    notes.push(
      `mbox ${mailbox.depth}/${mailbox.capacity} (hw ${mailbox.highWater}, oldest ${durationText(mailbox.oldestMs)})`,
    );
  }
  if (mailbox.dropped > 0) notes.push(`dropped ${mailbox.dropped}`);
  if (currentHandler !== undefined && currentHandler.ms >= OLD_MS) {
    notes.push(`handling ${harmless(currentHandler.type, cut)} ${durationText(currentHandler.ms)}`);
  }
  for (const ask of node.asks) {
    if (ask.ageMs >= OLD_MS)
      notes.push(`asks ${harmless(ask.target, cut)} ${harmless(ask.type, cut)} ${durationText(ask.ageMs)}`);
  }
  if (restarts.total > 0) notes.push(`restarted ${times}${restarts.total}`);
  if (lastError !== undefined) {
    const often = lastError.count > 1 ? ` ${times}${lastError.count}` : '';
    notes.push(
      `lastError ${harmless(lastError.message, cut)}${often} ${durationText(now_ms - lastError.lastAt)} ago`,
    );
  }
  if (node.hidden !== undefined) notes.push(`(${node.hidden} not shown)`);
  return notes;
}

function rowOf(node: ShownNode, before: string, now_ms: number, strokes: Strokes): Row {
  const { supervision } = node;
  const { cut } = strokes;
  return {
    fixed: [
      `${before}${harmless(node.name, cut)}`,
      node.state,
      supervision?.strategy ?? '',
      isUp(node)
        ? `up ${durationText(now_ms - (node.startedAt ?? node.since))}`
        : `for ${durationText(now_ms - node.since)}`,
      supervision === undefined ? '' : `restarts ${supervision.used}/${supervision.intensity.restarts_max}`,
    ],
    gauges: Object.entries(node.gauges)
      // The actor of a pod has its name.
      .filter(([name, value]) => name !== 'pod' || !node.name.startsWith(String(value)))
      .map(([name, value]) => `${harmless(name, cut)} ${harmless(String(value), cut) || '-'}`),
    notes: notesOf(node, now_ms, strokes),
  };
}

function rowsOf(node: ShownNode, before: string, below: string, now_ms: number, strokes: Strokes): Row[] {
  const rows = [rowOf(node, before, now_ms, strokes)];
  node.children.forEach((child, i) => {
    const last = i === node.children.length - 1;
    rows.push(
      ...rowsOf(
        child,
        below + (last ? strokes.last : strokes.branch),
        below + (last ? strokes.gap : strokes.pass),
        now_ms,
        strokes,
      ),
    );
  });
  return rows;
}

/** Width of each column: that of its longest cell, very long ones left aside. */
function widths(rows: readonly (readonly string[])[], wide: number): number[] {
  const found: number[] = [];
  for (const cells of rows) {
    cells.forEach((cell, i) => {
      if (cell.length <= wide) found[i] = Math.max(found[i] ?? 0, cell.length);
    });
  }
  return found;
}

const aligned = (cells: readonly string[], columns: readonly number[]): string =>
  cells
    .map((cell, i) => cell.padEnd(columns[i] ?? 0))
    .filter((cell) => cell !== '')
    .join('  ');

/** The supervision tree, one actor a line. Gauges stand in columns; what is out of the ordinary follows them. */
export function treeText(root: ShownNode, options: TreeTextOptions): string {
  const strokes = (options.unicode ?? true) ? UNICODE : ASCII;
  const rows = rowsOf(root, '', '', options.now_ms, strokes);
  const fixed = widths(
    rows.map((row) => row.fixed),
    Number.POSITIVE_INFINITY,
  );
  const gauges = widths(
    rows.map((row) => row.gauges),
    GAUGE_WIDE,
  );
  const { columns } = options;
  return rows
    .map((row) => {
      const line = [aligned(row.fixed, fixed), aligned(row.gauges, gauges), ...row.notes]
        .filter((part) => part !== '')
        .join('  ')
        .trimEnd();
      return columns === undefined || line.length <= columns
        ? line
        : `${line.slice(0, Math.max(0, columns - 1))}${strokes.cut}`;
    })
    .map((line) => `${line}\n`)
    .join('');
}
