/** Where the demo plays: a node, its host, its pods and a VPP, all real or some of it played. */
import type { Config } from '../../src/config.js';
import type { NetworkNamespace } from '../../src/linux/network.js';
import type { Pod, Topology } from '../topology.js';
import type { Traffic } from '../traffic.js';
import type { Teller } from './teller.js';
import type { TwoNodes } from './two-nodes.js';

/** What a real machine adds: a node in a process of its own, in namespaces of the kernel. */
export interface Machine {
  readonly topology: Topology;
  readonly traffic: Traffic;
  /** VPP forwards packets; the stand-in does not. */
  readonly has_packets: boolean;
  /** SIGKILL to the node's process; resolves when it is gone. */
  killNode(): Promise<void>;
  /** Of a cluster that is made, with nodes of its own. */
  twoNodes(teller: Teller): TwoNodes;
}

export interface Stage {
  /** The first words: what is real here and what is not. */
  readonly opening: string;
  readonly paths: Pick<Config['paths'], 'debug_socket' | 'cni_socket' | 'api_socket' | 'cli_socket'>;
  readonly pods: readonly Pod[];
  /** The end of the node's log. */
  lastWords(lines: number): string;
  /** Absent where everything is in memory. */
  readonly machine?: Machine;
  /** The caller closes it. */
  openHost(): NetworkNamespace;
  openPod(pod: Pod): NetworkNamespace;
  /** All that an observer of the host can see, by topic, one text an entry: the same texts when the host is the same. */
  hostState(): Readonly<Record<string, readonly string[]>>;
  /** Begins a life of the node without waiting for it. */
  launchNode(): void;
  killVpp(): void;
  /** As a signal to stop does; resolves with the exit code, or the signal that it died of. */
  stopNode(): Promise<number | string | null>;
  /** Ends and removes all of it, whatever state it is in. May be called twice. */
  close(): Promise<void>;
}
