/** The node as anyone sees it from outside: over its debug socket, and in what VPP answers to dumps. */
import { dirname } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { connect, unixTransport } from 'vpp-binapi-ts';
import { runVppCommands } from '../../src/cli/vpp-cli.js';
import { DebugUnreachable, fetchDebug } from '../../src/debug/client.js';
import type { Status } from '../../src/debug/status.js';
import type { ShownNode } from '../../src/debug/tree-filter.js';
import { treeText } from '../../src/debug/tree-text.js';
import type { Snapshot } from '../../src/reconcile/snapshot.js';
import { waitFor } from '../running-node.js';
import { lookAt } from '../vpp-view.js';
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
  /** Of the pods' namespaces: a path of no interest, and too long for a line. */
  readonly #directory: string;

  constructor({ paths, pods }: Stage) {
    this.#paths = paths;
    this.#directory = dirname(pods[0]!.netns);
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

  async #root(): Promise<{ readonly tree: ShownNode; readonly as_of: string }> {
    const { body } = await fetchDebug(this.#paths.debug_socket, '/debug/tree');
    return JSON.parse(body);
  }

  /** What an actor measures of itself, on one line. */
  async gauges(name: string): Promise<string> {
    const actor = [...nodesOf((await this.#root()).tree)].find((node) => node.name === name);
    return Object.entries(actor?.gauges ?? {})
      .map(([gauge, value]) => `${gauge} ${stripVTControlCharacters(String(value)).split(';')[0]}`)
      .join('  ');
  }

  /** Of all actors together. */
  async restarts(): Promise<number> {
    return [...nodesOf((await this.#root()).tree)].reduce((sum, { restarts }) => sum + restarts.total, 0);
  }

  /** As `calico-vpp-node tree` prints it, with shorter names of pods. */
  async tree(columns: number): Promise<string> {
    const { tree, as_of } = await this.#root();
    return treeText(this.#withShortNames(tree), { now_ms: Date.parse(as_of), columns });
  }

  async eventsSince(wall_ms: number): Promise<readonly NodeEvent[]> {
    const { body } = await fetchDebug(this.#paths.debug_socket, '/debug/events');
    const { events } = JSON.parse(body) as { events: NodeEvent[] };
    return events
      .filter(({ at }) => at >= wall_ms)
      .map(({ at, path, text }) => ({
        at,
        path: this.#short(path),
        text: this.#short(stripVTControlCharacters(text)),
      }));
  }

  #withShortNames(node: ShownNode): ShownNode {
    const children = node.children.map((child) => this.#withShortNames(child));
    return { ...node, name: this.#short(node.name), children };
  }

  #short(text: string): string {
    return text.replaceAll(this.#directory, '…');
  }

  /** What VPP holds, asked from VPP by a client of our own. */
  async snapshot(): Promise<Snapshot> {
    const vpp = await connect({
      transport: unixTransport(this.#paths.api_socket),
      name: 'demo',
      deadline_ms: request_ms,
    });
    try {
      return await lookAt(vpp);
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

function* nodesOf(node: ShownNode): Generator<ShownNode> {
  yield node;
  for (const child of node.children) yield* nodesOf(child);
}
