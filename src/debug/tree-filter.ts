import type { ActorState, TreeNode } from '../supervision/types.js';

/** A node of which some descendants may have been left out. */
export interface ShownNode extends TreeNode {
  readonly children: readonly ShownNode[];
  /** Number of descendants left out; absent when none. */
  readonly hidden?: number;
}

export interface TreeFilter {
  /** Levels below the root. */
  readonly depth?: number;
  readonly states?: readonly ActorState[];
  /** Only actors with so many messages waiting. */
  readonly min_mailbox?: number;
}

/** All states, for what people type. */
export const actor_states: readonly ActorState[] = [
  'starting',
  'running',
  'blocked',
  'backoff',
  'restarting',
  'draining',
  'stopped',
  'failed',
];

/** The node and all its descendants, those left out included. */
export function countNodes(node: ShownNode): number {
  return node.children.reduce((sum, child) => sum + countNodes(child), 1 + (node.hidden ?? 0));
}

/** The node with only some of its children. */
function keeping(node: ShownNode, children: readonly ShownNode[]): ShownNode {
  const hidden = countNodes(node) - children.reduce((sum, child) => sum + countNodes(child), 1);
  return hidden === 0 ? node : { ...node, children, hidden };
}

/** Keeps the actors that match and those above them; `undefined` when none does. */
function matching(node: ShownNode, filter: TreeFilter): ShownNode | undefined {
  const children = node.children.flatMap((child) => matching(child, filter) ?? []);
  const matches =
    (filter.states?.includes(node.state) ?? true) && node.mailbox.depth >= (filter.min_mailbox ?? 0);
  return matches || children.length > 0 ? keeping(node, children) : undefined;
}

export function limitDepth(node: ShownNode, depth: number): ShownNode {
  if (depth === 0) return keeping(node, []);
  return { ...node, children: node.children.map((child) => limitDepth(child, depth - 1)) };
}

/** The root is always there, so that an empty answer is an answer. */
export function filterTree(root: ShownNode, filter: TreeFilter): ShownNode {
  const kept = matching(root, filter) ?? keeping(root, []);
  return filter.depth === undefined ? kept : limitDepth(kept, filter.depth);
}

function descend(node: ShownNode, path: string): ShownNode | undefined {
  if (path === node.path) return node;
  if (!path.startsWith(`${node.path}/`)) return undefined;
  for (const child of node.children) {
    const found = descend(child, path);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The actor at a path; the name of the root may be left out. */
export function findNode(root: ShownNode, path: string): ShownNode | undefined {
  return descend(root, path) ?? descend(root, `${root.path}/${path}`);
}
