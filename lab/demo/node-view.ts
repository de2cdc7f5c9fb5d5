/** The node as anyone sees it from outside: over its debug socket, and in what VPP answers to dumps. */
import { isDeepStrictEqual } from 'node:util';
import { connect, unixTransport } from 'vpp-binapi-ts';
import { runVppCommands } from '../../src/cli/vpp-cli.js';
import { DebugUnreachable, fetchDebug } from '../../src/debug/client.js';
import type { Status } from '../../src/debug/status.js';
import type { ShownNode } from '../../src/debug/tree-filter.js';
import { treeText } from '../../src/debug/tree-text.js';
import type { Snapshot } from '../../src/reconcile/snapshot.js';
import { observe } from '../../src/vpp-conn/observe.js';
import { waitFor } from '../running-node.js';
import type { Stage } from './stage.js';

const request_ms = 5000;

export interface NodeEvent {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly path: string;
  readonly text: string;
}

export class NodeView {
  readonly #paths: Stage['paths'];

  constructor({ paths }: Stage) {
    this.#paths = paths;
  }

  /** Undefined while nobody answers. */
  async status(): Promise<Status | undefined> {
    try {
      const { body } = await fetchDebug(this.#paths.debug_socket, '/status');
      return JSON.parse(body) as Status;
    } catch (error) {
      if (error instanceof DebugUnreachable) return undefined;
      throw error;
    }
  }

  /** Waits until the node is ready and `holds`; answers the time it took. Throws after the deadline. */
  async untilReady(deadline_ms: number, holds: (status: Status) => boolean = () => true): Promise<number> {
    let said = 'it does not answer';
    return waitFor(
      async () => {
        const status = await this.status();
        said = status?.message ?? said;
        return status?.ready === true && holds(status);
      },
      deadline_ms,
      () => `the node is not ready after ${deadline_ms} ms: ${said}`,
    );
  }

  /** As `calico-vpp-node tree` prints it. */
  async tree(columns: number): Promise<string> {
    const { body } = await fetchDebug(this.#paths.debug_socket, '/debug/tree');
    const { tree, as_of } = JSON.parse(body) as { tree: ShownNode; as_of: string };
    return treeText(tree, { now_ms: Date.parse(as_of), columns });
  }

  async eventsSince(wall_ms: number): Promise<readonly NodeEvent[]> {
    const { body } = await fetchDebug(this.#paths.debug_socket, '/debug/events');
    return (JSON.parse(body) as { events: NodeEvent[] }).events.filter(({ at }) => at >= wall_ms);
  }

  /** What VPP holds, asked from VPP by a client of our own. */
  async snapshot(): Promise<Snapshot> {
    const vpp = await connect({
      transport: unixTransport(this.#paths.api_socket),
      name: 'demo',
      deadline_ms: request_ms,
    });
    try {
      return (await observe(vpp)).snapshot;
    } finally {
      vpp.close();
    }
  }

  async vppctl(command: string): Promise<string> {
    const chunks: Buffer[] = [];
    await runVppCommands(this.#paths.cli_socket, [command], (chunk) => chunks.push(chunk), request_ms);
    return Buffer.concat(chunks).toString().replaceAll('\r', '');
  }
}

/** The objects without regard to the order in which VPP lists them. */
export function holdsTheSame(a: Snapshot, b: Snapshot): boolean {
  const texts = ({ objects }: Snapshot): string[] => objects.map((object) => JSON.stringify(object)).sort();
  return isDeepStrictEqual(texts(a), texts(b));
}
