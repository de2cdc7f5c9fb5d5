import type { StopReason } from './types.js';

/** Why a life ended, in words for the tree and the log. */
export function describeReason(reason: StopReason): string {
  switch (reason.kind) {
    case 'crash':
      return reason.error.message;
    case 'sibling':
      return `restarted together with ${reason.path}`;
    case 'parent':
      return `stopped with ${reason.path}, which is restarted`;
    case 'shutdown':
      return 'told to stop';
    case 'exit':
      return 'ended normally';
    case 'restart':
      return 'restarted by an operator';
  }
}
