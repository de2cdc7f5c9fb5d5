/** A router that advertises itself on a link: radvd, in the namespace of a topology. */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Topology } from './topology.js';

export interface Advertised {
  /** Seconds; that of prefixes, too. */
  readonly router_s: number;
  readonly valid_s: number;
  readonly preferred_s: number;
  readonly prefix: string;
}

export class Router {
  readonly #directory = mkdtempSync(join(tmpdir(), `cvn-${process.pid}-radvd-`));
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  /** Speaks every 3 to 4 seconds on this link of `outside`, and when it is asked. */
  constructor(topology: Topology, link: string, { router_s, valid_s, preferred_s, prefix }: Advertised) {
    const config = join(this.#directory, 'radvd.conf');
    const lifetimes = `AdvValidLifetime ${valid_s}; AdvPreferredLifetime ${preferred_s};`;
    const of_link = `AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime ${router_s};`;
    writeFileSync(config, `interface ${link} { ${of_link} prefix ${prefix} { ${lifetimes} }; };\n`);
    const argv = ['radvd', '-n', '-C', config, '-p', join(this.#directory, 'pid'), '-m', 'none'];
    this.#child = topology.spawn('outside', argv, { stdio: 'ignore' });
    this.#ended = new Promise((resolve) => this.#child.once('exit', () => resolve()));
  }

  /** It says that it leaves. */
  async leave(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#ended;
  }

  close(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
