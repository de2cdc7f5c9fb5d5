/** Network namespaces on one bridge, for BGP speakers: a node or a router each. They go with `close`. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

const run = (...words: readonly string[]): string =>
  execFileSync(words[0]!, words.slice(1), { encoding: 'utf8' });

export class BgpNet {
  readonly #id = randomBytes(3).toString('hex');
  readonly #names: string[] = [];

  constructor() {
    const bridge = this.name('lan');
    run('ip', 'netns', 'add', bridge);
    this.#names.push(bridge);
    run('ip', '-n', bridge, 'link', 'add', 'br0', 'type', 'bridge');
    run('ip', '-n', bridge, 'link', 'set', 'br0', 'up');
  }

  name(of: string): string {
    return `bgp${this.#id}-${of}`;
  }

  /** A namespace with these addresses (with their lengths) on the bridge; gives its name. */
  add(of: string, addresses: readonly string[]): string {
    const name = this.name(of);
    run('ip', 'netns', 'add', name);
    this.#names.push(name);
    const port = `p${this.#names.length}`;
    run(
      'ip',
      '-n',
      name,
      'link',
      'add',
      'eth0',
      'type',
      'veth',
      'peer',
      'name',
      port,
      'netns',
      this.name('lan'),
    );
    run('ip', '-n', this.name('lan'), 'link', 'set', port, 'master', 'br0', 'up');
    run('ip', '-n', name, 'link', 'set', 'lo', 'up');
    for (const address of addresses)
      run(
        'ip',
        '-n',
        name,
        'addr',
        'add',
        address,
        'dev',
        'eth0',
        ...(address.includes(':') ? ['nodad'] : []),
      );
    run('ip', '-n', name, 'link', 'set', 'eth0', 'up');
    return name;
  }

  /** Runs a command inside; gives what it prints. */
  in(name: string, ...words: readonly string[]): string {
    return run('ip', 'netns', 'exec', name, ...words);
  }

  /** Processes that were started inside end with it. */
  close(): void {
    for (const name of this.#names.reverse()) {
      for (const pid of run('ip', 'netns', 'pids', name).split('\n').filter(Boolean)) {
        try {
          process.kill(Number(pid), 'SIGKILL');
        } catch {
          // It has ended by itself.
        }
      }
      spawnSync('ip', ['netns', 'del', name]);
    }
  }
}

/** Why tests with real speakers do not run here; false: they do. */
export function unfit(): string | false {
  if (process.env.BGP_TESTS === undefined) return 'minutes with real speakers: npm run test:bgp';
  return !canMakeNamespaces() && 'network namespaces cannot be made here';
}

function canMakeNamespaces(): boolean {
  const name = `bgp${randomBytes(3).toString('hex')}`;
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return false;
  spawnSync('ip', ['netns', 'del', name]);
  return true;
}
