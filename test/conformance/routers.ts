/** Routers that nobody here wrote, in namespaces: BIRD and FRR. */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BgpNet } from './bgp-net.js';

const search = ['/usr/sbin', '/usr/lib/frr', '/usr/bin', '/sbin'];

/** Where a program is; undefined: not installed. */
export function program(name: string): string | undefined {
  const { stdout } = spawnSync('which', [name], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env.PATH}:${search.join(':')}` },
  });
  return stdout.trim() || undefined;
}

/** One route as a router has it. */
export interface SeenRoute {
  readonly prefix: string;
  readonly next_hop: string;
  readonly as_path: string;
  readonly communities: string;
  readonly large_communities: string;
  readonly local_pref?: number;
}

abstract class Router {
  readonly directory = mkdtempSync(join(tmpdir(), 'router-'));

  constructor(
    readonly net: BgpNet,
    readonly within: string,
  ) {
    // FRR drops its rights.
    chmodSync(this.directory, 0o777);
  }

  /** In the foreground; it ends with its namespace. */
  protected run(command: string, ...words: readonly string[]): void {
    const child = spawn('ip', ['netns', 'exec', this.within, command, ...words], { stdio: 'ignore' });
    child.unref();
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A protocol's name in BIRD's configuration: no word of its language. */
export const protocolName = (session: string): string => `x_${session}`;

export class Bird extends Router {
  get #config(): string {
    return join(this.directory, 'bird.conf');
  }

  get #socket(): string {
    return join(this.directory, 'bird.ctl');
  }

  start(config: string): this {
    writeFileSync(this.#config, config);
    const { stderr, status } = spawnSync(program('bird')!, ['-p', '-c', this.#config], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    this.run(
      program('bird')!,
      '-f',
      '-c',
      this.#config,
      '-s',
      this.#socket,
      '-P',
      join(this.directory, 'pid'),
    );
    return this;
  }

  /** Takes another configuration, as an operator would. */
  configure(config: string): void {
    writeFileSync(this.#config, config);
    this.ask('configure');
  }

  /** What birdc prints. Throws where BIRD does not answer. */
  ask(command: string): string {
    const { stdout, status } = spawnSync(program('birdc')!, ['-s', this.#socket, ...command.split(' ')], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stdout);
    return stdout;
  }

  /** Routes from this session, by prefix. */
  routes(session: string): ReadonlyMap<string, SeenRoute> {
    const text = this.ask(`show route all protocol ${protocolName(session)}`);
    const routes = new Map<string, SeenRoute>();
    for (const [, prefix = '', rest = ''] of text.matchAll(
      /^([0-9a-f.:]+\/\d+)\s([\s\S]*?)(?=^[0-9a-f.:]+\/\d+\s|^Table|(?![\s\S]))/gm,
    )) {
      const attribute = (name: string) => new RegExp(`BGP\\.${name}: ?(.*)`).exec(rest)?.[1]?.trim() ?? '';
      const local_pref = attribute('local_pref');
      routes.set(prefix, {
        prefix,
        next_hop: attribute('next_hop').split(' ')[0]!,
        as_path: attribute('as_path'),
        communities: attribute('community'),
        large_communities: attribute('large_community'),
        ...(local_pref !== '' && { local_pref: Number(local_pref) }),
      });
    }
    return routes;
  }

  isUp(session: string): boolean {
    try {
      return /Established/.test(this.ask(`show protocols ${protocolName(session)}`));
    } catch {
      // It has only just been started.
      return false;
    }
  }
}

export class Frr extends Router {
  start(config: string): this {
    writeFileSync(join(this.directory, 'bgpd.conf'), config, { mode: 0o666 });
    this.run(
      program('bgpd')!,
      ...['--no_zebra', '-f', join(this.directory, 'bgpd.conf')],
      ...['-i', join(this.directory, 'bgpd.pid'), '--vty_socket', this.directory, '-P', '0'],
      ...['--log', `file:${join(this.directory, 'log')}`],
    );
    return this;
  }

  ask(command: string): string {
    const { stdout } = spawnSync(
      program('vtysh')!,
      ['--vty_socket', this.directory, '-d', 'bgpd', '-c', command],
      {
        encoding: 'utf8',
      },
    );
    return stdout;
  }

  get log(): string {
    return readFileSync(join(this.directory, 'log'), 'utf8');
  }

  /** Its table: prefixes and next hops. */
  routes(family: 'ipv4' | 'ipv6' = 'ipv4'): ReadonlyMap<string, string> {
    const text = this.ask(`show bgp ${family} unicast json`);
    try {
      const { routes } = JSON.parse(text) as {
        routes: Record<string, { nexthops: { ip: string }[]; path: string }[]>;
      };
      return new Map(
        Object.entries(routes).map(([prefix, [first]]) => [prefix, first?.nexthops[0]?.ip ?? '']),
      );
    } catch {
      return new Map();
    }
  }

  isUp(peer: string): boolean {
    return this.ask(`show bgp neighbors ${peer}`).includes('Established');
  }
}
