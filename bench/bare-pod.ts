/**
 * What an ADD costs VPP itself: the messages that the node sends for a pod, sent by a bare client to the same VPP, each
 * after the reply to the one before, or in waves. The pods made here are removed again at once.
 */
import { join } from 'node:path';
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';
import type { RunningNode } from '../lab/running-node.js';
import type { PodSpec } from '../src/cni/pod-spec.js';
import { PodState } from '../src/cni/pod-state.js';
import { desiredPod } from '../src/desired/pod.js';
import { podTables } from '../src/desired/tables.js';
import { type Operation, reconcile, removal } from '../src/reconcile/reconcile.js';
import { execute } from '../src/vpp-conn/execute.js';
import { Handles } from '../src/vpp-conn/handles.js';

/** Far from the slots that the node gives its pods. */
const slot = 5000;
const addresses = { ip4: ['10.44.255.1'], ip6: ['fd44::ffff'] };
const mtu = 1500;

export class BarePod {
  readonly #vpp: Client;
  readonly #handles = new Handles();
  readonly #operations: readonly Operation[];

  private constructor(vpp: Client, spec: PodSpec, gso: boolean) {
    this.#vpp = vpp;
    const inputs = {
      tables: podTables(slot),
      mtu,
      gso,
      node: {},
      redirects: [],
      workers: 0,
      default_verdict: 'allow' as const,
    };
    this.#operations = reconcile(desiredPod(spec, inputs), []);
  }

  /** Like a pod that the node has already, in another namespace and with other addresses. */
  static async connect(node: RunningNode, netns: string): Promise<BarePod> {
    const { records } = new PodState(join(node.config.paths.run_dir, 'pods')).load();
    const spec = { ...records[0]!.spec, netns, addresses };
    const vpp = await connect({ transport: unixTransport(node.config.paths.api_socket), name: 'bench' });
    return new BarePod(vpp, spec, node.config.gates.gso);
  }

  get operations(): number {
    return this.#operations.length;
  }

  serial(): Promise<number> {
    return this.#measure(this.#operations.map((operation) => [operation]));
  }

  inWaves(): Promise<number> {
    return this.#measure([this.#operations]);
  }

  async #measure(steps: readonly (readonly Operation[])[]): Promise<number> {
    const began_ms = performance.now();
    for (const step of steps) await this.#execute(step);
    const ms = performance.now() - began_ms;
    await this.#execute(removal(this.#operations.map(({ object }) => object)));
    return ms;
  }

  async #execute(operations: readonly Operation[]): Promise<void> {
    const transaction = { generation: 0, owner: 'bench', operations, on_error: 'continue' } as const;
    const { error } = await execute(this.#vpp, this.#handles, transaction);
    if (error !== undefined) throw error;
  }

  close(): void {
    this.#vpp.close();
  }
}
