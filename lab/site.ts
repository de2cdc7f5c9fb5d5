/** Where a node runs: its network namespace, and what it has of the network around it. */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import type { NetnsLab } from './netns.js';
import type { Ends } from './topology.js';

/** Runs programs in namespaces. */
export interface Inside {
  /** The command line that runs `argv` inside. */
  inside(name: string, argv: readonly string[]): [string, string[]];
  /** A process inside, ended with the lab at the latest. */
  spawn(name: string, argv: readonly string[], options?: SpawnOptions): ChildProcess;
}

export interface Site extends Inside {
  /** Of its namespace, and in its cluster. */
  readonly name: string;
  /** Of the namespace that its VPP gets. */
  readonly vpp_netns: string;
  readonly lab: NetnsLab;
  readonly uplinks: readonly string[];
  readonly node: Ends;
}
