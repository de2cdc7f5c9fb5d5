/**
 * A host of the table in namespaces of its own, and the Linux side of a node in it. VPP is not needed: what it does to Linux is to make a tap, and to
 * take it along when it dies.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { hostInside } from '../../lab/host-inside.js';
import { NetnsLab } from '../../lab/netns.js';
import { patience } from '../../lab/patience.js';
import { HeldTap } from '../../lab/tap.js';
import { findings, gatherCheckFacts } from '../../src/check/check.js';
import { systemClock } from '../../src/clock.js';
import { loadConfig } from '../../src/config.js';
import { fingerprint } from '../../src/desired/host-tap.js';
import { uplinkTag } from '../../src/desired/node-inputs.js';
import { type RunCommand, runCommand } from '../../src/host/command.js';
import { openJournal } from '../../src/host/undo/undo-journal.js';
import type { NetworkNamespace } from '../../src/linux/network.js';
import { CapturedStore, type CapturedUplink } from '../../src/uplink/captured.js';
import type { Refusal } from '../../src/uplink/host-taps.js';
import { UplinkHost } from '../../src/uplink/uplink-host.js';
import { uplinkOf } from '../../src/uplink/uplink-of.js';
import { MemoryFiles, specOf } from '../uplink/uplink-lab.js';
import type { OddHost } from './odd-hosts/odd-host.js';
import { odd_hosts } from './odd-hosts/odd-hosts.js';
import { differences, type Json, type Shown, show, withoutRoutes } from './shown.js';

const cluster = { prefixes: ['10.96.0.0/16', 'fd00:96::/112'], tap_address: '169.254.0.1/32' };
/** What the kernel does by itself (carrier, multicast routes, duplicate detection) it does within this time. */
const settle_ms = 4000 * patience;
/** Not all of it is told: looked at is without news as well. */
const look_ms = 1000;
/** A look costs a dozen processes: one for all that the kernel says within this time. */
const together_ms = 150;

/** A host of the table in its namespaces, with the Linux side of a node in it. */
export class Stage {
  readonly node: string;
  readonly #peer: string;
  readonly #vpp: string;
  host: UplinkHost;
  readonly specs;
  readonly #taps: HeldTap[] = [];
  readonly #files = new MemoryFiles();
  readonly namespace: NetworkNamespace;

  constructor(
    readonly lab: NetnsLab,
    readonly odd: OddHost,
    id: string,
  ) {
    this.node = `n${id}`;
    this.#peer = `p${id}`;
    this.#vpp = `v${id}`;
    for (const name of [this.node, this.#peer]) {
      const namespace = lab.open(name);
      for (const scope of ['all', 'default']) namespace.writeSysctl(`net/ipv6/conf/${scope}/accept_dad`, '1');
    }
    this.namespace = lab.open(this.node);
    for (const n of [0, 1])
      lab.veth({ namespace: this.node, name: `eth${n}` }, { namespace: this.#peer, name: `peer${n}` });
    this.#furnish(this.node, odd.setup);
    this.#furnish(this.#peer, odd.peer ?? []);
    this.specs = (odd.uplinks ?? ['eth0']).map((interface_name, index) =>
      specOf({ interface_name, index, is_main: index === 0 }),
    );
    this.host = this.restarted();
  }

  /** The node as a fresh process has it: all that is known is on the disk. */
  restarted(): UplinkHost {
    const boot = '11111111-1111-1111-1111-111111111111';
    const { journal } = openJournal('/state/undo.journal', boot, 0, this.#files);
    const host = hostInside(this.lab, this.node);
    this.host = new UplinkHost(
      host,
      journal,
      new CapturedStore(join(this.lab.directory, `uplinks-${this.node}.json`), boot),
      { host, clock: systemClock, run: runCommand },
      this.lab.namespace(this.#vpp),
    );
    return this.host;
  }

  #furnish(name: string, lines: readonly string[]): void {
    let batch: string[] = [];
    let option: string[] = [];
    const flush = (): void => {
      if (batch.length === 0) return;
      const file = join(this.lab.directory, 'batch');
      writeFileSync(file, `${batch.join('\n')}\n`);
      this.lab.run(name, 'ip', ...option, '-batch', file);
      batch = [];
    };
    for (const line of lines) {
      const [word, path = '', value = ''] = line.split(' ');
      if (word !== 'sysctl' && word !== 'tc') {
        const wanted = word === '-6' ? ['-6'] : [];
        if (wanted.length !== option.length) flush();
        option = wanted;
        batch.push(line.replace(/^-6 /, ''));
        continue;
      }
      flush();
      if (word === 'sysctl') this.lab.open(name).writeSysctl(path, value);
      else this.lab.run(name, ...line.split(' '));
    }
    flush();
  }

  capture(): CapturedUplink[] {
    return this.host.capture(this.specs);
  }

  uplinks(captured: readonly CapturedUplink[]) {
    return captured.map((each) => uplinkOf(each, true, uplinkTag(each.link.name)));
  }

  /** As VPP makes its taps. */
  makeTaps(captured: readonly CapturedUplink[]): void {
    for (const { name, mac, mtu } of this.uplinks(captured)) {
      this.#taps.push(new HeldTap(this.lab, this.node, name));
      const link = this.namespace.link(name)!.index;
      this.namespace.apply({ do: 'set_link', link, mac, mtu, up: true });
    }
  }

  /** As VPP does when all of it is programmed. */
  raiseTaps(): void {
    for (const tap of this.#taps) tap.setCarrier(true);
  }

  /** VPP dies, and its taps with it. */
  removeTaps(): void {
    for (const tap of this.#taps.splice(0)) tap.close();
  }

  show(): Shown {
    return withoutRoutes(
      show(this.lab, this.node, Object.keys(this.odd.lost ?? {})),
      this.odd.leftovers ?? [],
    );
  }

  /** What `check` warns of. */
  async warnings(): Promise<string[]> {
    const uplinkInterfaces = this.specs.map(({ interface_name }) => ({
      interfaceName: interface_name,
      vppDriver: 'af_packet',
    }));
    const { config } = loadConfig({
      NODENAME: 'n',
      CALICOVPP_INTERFACES: JSON.stringify({ uplinkInterfaces }),
    });
    const run: RunCommand = async ([name = '', ...words]) =>
      name === 'tc'
        ? { code: 0, stdout: this.lab.run(this.node, name, ...words), stderr: '' }
        : { code: 127, stdout: '', stderr: '' };
    const openNetwork = (): NetworkNamespace => hostInside(this.lab, this.node).open();
    const found = findings(config, await gatherCheckFacts(config, { host_root: '', openNetwork, run }));
    return found.filter(({ severity }) => severity === 'warning').map(({ what }) => what);
  }

  /** What differs from `wanted` once the kernel has done what it does by itself. */
  async differs(wanted: Shown, view: (shown: Shown) => Shown = (shown) => shown): Promise<string[]> {
    const look = (): string[] =>
      differences(view(wanted) as unknown as Json, view(this.show()) as unknown as Json);
    return new Promise((resolve) => {
      let again: NodeJS.Timeout | undefined;
      const end = (found: string[]): void => {
        clearTimeout(timer);
        clearTimeout(again);
        clearInterval(looking);
        watch.close();
        resolve(found);
      };
      const endIfAlike = (): void => {
        again = undefined;
        const found = look();
        if (found.length === 0) end(found);
      };
      const watch = this.namespace.watch(['link', 'address', 'route'], () => {
        again ??= setTimeout(endIfAlike, together_ms);
      });
      const timer = setTimeout(() => end(look()), settle_ms);
      const looking = setInterval(() => {
        again ??= setTimeout(endIfAlike);
      }, look_ms);
      endIfAlike();
    });
  }

  /** Resolves when no address is being verified any more. */
  async settled(): Promise<void> {
    const tentative = 0x40;
    const isSettled = (): boolean => this.namespace.addresses().every(({ flags }) => !(flags & tentative));
    const without_carrier = this.odd.peer !== undefined;
    if (isSettled() || without_carrier) return;
    await new Promise<void>((resolve) => {
      const watch = this.namespace.watch(['address'], () => {
        if (!isSettled()) return;
        watch.close();
        resolve();
      });
    });
  }
}

const able = new Map<string, boolean>();
function has(lab: NetnsLab, kind: string): boolean {
  const known = able.get(kind);
  if (known !== undefined) return known;
  const lower = ['vlan', 'macvlan', 'vxlan'].includes(kind);
  const extra = kind === 'vlan' || kind === 'vxlan' ? ['id', '7'] : kind === 'vrf' ? ['table', '50'] : [];
  lab.veth({ namespace: `able-${kind}`, name: 'a' }, { namespace: `able-${kind}`, name: 'b' });
  const words = [
    'link',
    'add',
    'x',
    ...(lower ? ['link', 'a'] : []),
    'type',
    kind,
    ...extra,
    ...(kind === 'vxlan' ? ['dstport', '4789'] : []),
  ];
  const answer = lab.succeeds(`able-${kind}`, 'ip', ...words);
  able.set(kind, answer);
  return answer;
}

/** Step by step, with what was found wrong at each. */
export type Outcome = readonly (readonly [step: string, wrong: readonly string[]])[];

export const step_names = ['taken', 'given a tap', 'dressed', 'complete', 'followed'] as const;

/** The steps of a take-over, each of which may be the last. */
export function stepsOf(
  stage: Stage,
  captured: readonly CapturedUplink[],
): Readonly<Record<(typeof step_names)[number], () => string[] | Promise<string[]>>> {
  const uplinks = stage.uplinks(captured);
  const texts = (refusals: readonly Refusal[]): string[] => refusals.map(({ error }) => error.message);
  const dress = (): string[] => texts(stage.host.taps.dress(uplinks, captured, cluster));
  return {
    taken: async () => {
      await stage.host.take(captured);
      return [];
    },
    'given a tap': () => {
      stage.makeTaps(captured);
      return [];
    },
    dressed: dress,
    complete: () => {
      stage.raiseTaps();
      const refused = dress();
      stage.host.complete(captured);
      return refused;
    },
    followed: () => {
      const now = stage.host.taps.current(captured)!;
      stage.host.remember(now);
      const lines = (each: readonly CapturedUplink[]): string[] => fingerprint(each).split('\n');
      return [
        ...differences(lines(captured), lines(now)),
        ...texts(stage.host.taps.redress(stage.uplinks(now), cluster)),
      ];
    },
  };
}

export async function restored(stage: Stage, before: Shown, when: string): Promise<Outcome> {
  const { results } = await stage.restarted().restore();
  const failed = results.flatMap((result) => (result.outcome === 'failed' ? [result.reason] : []));
  return [
    [`${when}: restored`, failed],
    [`${when}: as it was`, await stage.differs(before)],
  ];
}

/** All hosts at once, for the kernel takes its time on each; what goes wrong is told by host. */
export async function ofAll(t: Test, run: (stage: Stage) => Promise<Outcome>): Promise<void> {
  const lab = new NetnsLab();
  t.teardown(() => lab.close());
  const only = process.env.ODD_HOST;
  const stages: Stage[] = [];
  for (const [at, odd] of odd_hosts.entries()) {
    if (only !== undefined && !odd.name.includes(only)) continue;
    const lacks = (odd.needs ?? []).filter((kind) => !has(lab, kind));
    if (lacks.length > 0) t.pass(odd.name, { skip: `this kernel has no ${lacks.join(', ')}` });
    else stages.push(new Stage(lab, odd, String(at)));
  }
  await Promise.all(stages.map((stage) => stage.settled()));
  const outcomes = await Promise.all(
    stages.map((stage) =>
      run(stage).catch((error: Error): Outcome => [['ran', [error.stack ?? error.message]]]),
    ),
  );
  for (const [at, { odd }] of stages.entries()) {
    await t.test(odd.name, async (t) => {
      for (const [step, wrong] of outcomes[at]!) t.strictSame(wrong, [], step);
    });
  }
}
