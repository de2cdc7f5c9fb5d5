import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { hostInside } from '../../lab/host-inside.js';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import { HeldTap } from '../../lab/tap.js';
import { systemClock } from '../../src/clock.js';
import { fingerprint } from '../../src/desired/host-tap.js';
import { uplinkTag } from '../../src/desired/uplink.js';
import { runCommand } from '../../src/host/command.js';
import { openJournal } from '../../src/host/undo/undo-journal.js';
import type { NetworkNamespace } from '../../src/linux/network.js';
import { CapturedStore, type CapturedUplink } from '../../src/uplink/captured.js';
import { type Refusal, UplinkHost, uplinkOf } from '../../src/uplink/uplink-host.js';
import { MemoryFiles, specOf } from '../uplink/uplink-lab.js';
import { type OddHost, odd_hosts } from './odd-hosts.js';

/**
 * Odd hosts are taken over and given back with a real kernel. `ip -d -j` and /proc/sys say what a host is: the same before and
 * after, and the tap is what the uplink was. VPP is not needed: what it does to Linux is to make a tap, and to take it along
 * when it dies.
 */

const reason = canUseNetns();
const root = reason === undefined ? {} : { skip: reason };
const cluster = { prefixes: ['10.96.0.0/16', 'fd00:96::/112'], tap_address: '169.254.0.1/32' };
/** What the kernel does by itself (carrier, multicast routes, duplicate detection) it does within this time. */
const settle_ms = 4000;

type Json = null | string | number | boolean | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = { readonly [key: string]: Json };

/** What `ip` and /proc/sys say of a namespace. */
interface Shown {
  readonly links: readonly JsonObject[];
  readonly routes4: readonly JsonObject[];
  readonly routes6: readonly JsonObject[];
  readonly rules: readonly JsonObject[];
  readonly neighbours: readonly JsonObject[];
  readonly nexthops: readonly JsonObject[];
  readonly sysctls: Readonly<Record<string, string>>;
}

const questions = [
  'ip -d -j addr',
  'ip -d -j -4 route show table all',
  'ip -d -j -6 route show table all',
  'ip -d -j -4 rule; echo @@; ip -d -j -6 rule',
  'ip -d -j neigh show nud permanent; echo @@; ip -d -j neigh show nud noarp; echo @@; ip -d -j neigh show proxy',
  'ip -d -j nexthop',
];
const sysctl_question =
  'grep -rsH . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/neigh /proc/sys/net/ipv6/neigh';

function show(lab: NetnsLab, name: string, lost_flags: readonly string[] = []): Shown {
  const command = [...questions, `${sysctl_question} || true`].join('; echo @@@; ');
  const parts = lab.run(name, 'sh', '-c', command).split('@@@');
  const lists = parts
    .slice(0, -1)
    .map((part) =>
      part.split('@@').flatMap((text) => (text.trim() === '' ? [] : (JSON.parse(text) as JsonObject[]))),
    );
  const [links = [], routes4 = [], routes6 = [], rules = [], neighbours = [], nexthops = []] = lists;
  const sysctls = Object.fromEntries(
    parts
      .at(-1)!
      .split('\n')
      .flatMap((line) => {
        const [, path, value] = /^\/proc\/sys\/net\/([^:]+):(.*)$/.exec(line) ?? [];
        return path === undefined ? [] : [[path, value ?? '']];
      }),
  );
  return {
    links: links
      .map((link) => withoutIndex(link, lost_flags))
      .sort((a, b) => (String(a.ifname) < String(b.ifname) ? -1 : 1)),
    // In the local table the order of equal routes means nothing.
    routes4: [
      ...routes4.filter(({ table }) => table !== 'local'),
      ...bySpelling(routes4.filter(({ table }) => table === 'local')),
    ],
    routes6: bySpelling(routes6.filter(({ dst, type }) => !(type === 'multicast' && dst === 'ff00::/8'))),
    rules,
    neighbours: bySpelling(neighbours.filter(({ dst }) => !/^(ff|2[23]\d\.)/.test(String(dst)))),
    nexthops: bySpelling(nexthops),
    sysctls,
  };
}

/** An index may change with a move; the state of duplicate detection passes, and so do timers. */
function withoutIndex(link: JsonObject, lost_flags: readonly string[]): JsonObject {
  const passing = new Set(['ifindex', 'link_index', 'link_netnsid', 'tentative', ...lost_flags]);
  const keptOf = (value: Json): Json => {
    if (Array.isArray(value)) return (value as readonly Json[]).map(keptOf);
    if (!isObject(value)) return value;
    const kept = Object.entries(value).filter(([key]) => !passing.has(key) && !key.endsWith('timer'));
    return Object.fromEntries(kept.map(([key, inner]) => [key, keptOf(inner)]));
  };
  return keptOf(link) as JsonObject;
}

function withoutRoutes(shown: Shown, prefixes: readonly string[]): Shown {
  const isKept = ({ dst, protocol }: JsonObject): boolean =>
    protocol === '77' || !prefixes.includes(String(dst));
  return { ...shown, routes4: shown.routes4.filter(isKept), routes6: shown.routes6.filter(isKept) };
}

function bySpelling(list: readonly JsonObject[]): JsonObject[] {
  return [...list].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

const lifetimes: ReadonlySet<string> = new Set(['valid_life_time', 'preferred_life_time', 'expires']);
const life_tolerance_s = 120;

/** What differs, a line each; a lifetime may have run meanwhile. */
function differences(before: Json, after: Json, path = ''): string[] {
  if (before === after) return [];
  if (Array.isArray(before) && Array.isArray(after)) {
    if (before.length !== after.length)
      return [`${path}: ${before.length} became ${after.length}: ${unlike(before, after)}`];
    return before.flatMap((each, at) => differences(each, after[at]!, `${path}[${at}]`));
  }
  if (isObject(before) && isObject(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys].flatMap((key) => {
      const [a, b] = [before[key] ?? null, after[key] ?? null];
      const running = lifetimes.has(key) && typeof a === 'number' && typeof b === 'number';
      if (running && Math.abs(a - b) <= life_tolerance_s) return [];
      return differences(a, b, `${path}.${key}`);
    });
  }
  return [`${path}: ${JSON.stringify(before)} became ${JSON.stringify(after)}`];
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unlike(before: readonly Json[], after: readonly Json[]): string {
  const texts = (list: readonly Json[]): string[] => list.map((each) => JSON.stringify(each));
  const [a, b] = [texts(before), texts(after)];
  const gone = a.filter((text) => !b.includes(text)).map((text) => `- ${text}`);
  const come = b.filter((text) => !a.includes(text)).map((text) => `+ ${text}`);
  return [...gone, ...come].slice(0, 8).join(' ');
}

/** A host of the table in its namespaces, with the Linux side of a node in it. */
class Stage {
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
      this.lab.run(this.node, 'ip', 'link', 'set', name, 'address', mac, 'mtu', String(mtu), 'up');
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
    return withoutRoutes(show(this.lab, this.node, this.odd.lost_flags), this.odd.leftovers ?? []);
  }

  /** What differs from `wanted` once the kernel has done what it does by itself. */
  async differs(wanted: Shown, view: (shown: Shown) => Shown = (shown) => shown): Promise<string[]> {
    const look = (): string[] =>
      differences(view(wanted) as unknown as Json, view(this.show()) as unknown as Json);
    return new Promise((resolve) => {
      let found: string[] = [];
      const end = (): void => {
        clearTimeout(timer);
        watch.close();
        resolve(found);
      };
      const again = (): void => {
        found = look();
        if (found.length === 0) end();
      };
      const watch = this.namespace.watch(['link', 'address', 'route'], again);
      const timer = setTimeout(() => {
        found = look();
        end();
      }, settle_ms);
      again();
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

const isGateway = /^(fe80::[129]|2001:db8:(:1|7::9)|fe80::ca:.*)$/;

/** The tap differs from the uplink in what it is, and carries what is ours. */
function asTheUplink(names: ReadonlySet<string>): (shown: Shown) => Shown {
  const isTap = (name: Json | undefined): boolean => names.has(String(name));
  return ({ links, routes4, routes6, neighbours, nexthops, rules, sysctls }) => ({
    links: links.map((link) => {
      // What lies below a macvlan is promiscuous with it.
      if (!isTap(link.ifname)) return { ...link, promiscuity: 0 };
      const { ifname, mtu, address, group, ifalias, txqlen, altnames, addr_info } = link;
      const addresses = (addr_info as readonly JsonObject[]).map(
        ({ nodad: _, valid_life_time: __, dynamic: ___, preferred_life_time, temporary: ____, ...rest }) => ({
          ...rest,
          deprecated: rest.deprecated ?? preferred_life_time === 0,
        }),
      );
      return {
        ifname: ifname!,
        mtu: mtu!,
        address: address!,
        group: group!,
        ifalias: ifalias ?? null,
        txqlen: txqlen!,
        altnames: altnames ?? null,
        addr_info: addresses,
      };
    }),
    routes4: routes4.filter(isHosts).map(aliveRoute),
    routes6: bySpelling(routes6.filter(isHosts).map(aliveRoute)),
    rules,
    neighbours: bySpelling(
      neighbours.flatMap(({ lladdr, ...neighbour }) => {
        const is_ours = String(lladdr).startsWith('02:ca:11:c0:fd') && isGateway.test(String(neighbour.dst));
        return is_ours ? [] : [isTap(neighbour.dev) ? neighbour : { ...neighbour, lladdr: lladdr ?? null }];
      }),
    ),
    nexthops: nexthops.map(aliveRoute),
    sysctls: Object.fromEntries(
      Object.entries(sysctls).filter(
        ([path]) =>
          !(isTap(path.split('/')[2]) && /\/(stable_secret|mc_forwarding|addr_gen_mode)$/.test(path)),
      ),
    ),
  });
}

const isHosts = ({ protocol }: JsonObject): boolean => protocol !== '77';

/** The tap has no carrier before VPP says so; nobody renews what expires. */
function aliveRoute({ flags, nexthops, expires: _, ...route }: JsonObject): JsonObject {
  const kept = ((flags ?? []) as readonly string[]).filter((flag) => flag !== 'linkdown' && flag !== 'dead');
  return {
    ...route,
    flags: kept,
    ...(Array.isArray(nexthops) && { nexthops: (nexthops as readonly JsonObject[]).map(aliveRoute) }),
  };
}

/** Step by step, with what was found wrong at each. */
type Outcome = readonly (readonly [step: string, wrong: readonly string[]])[];

/** The steps of a take-over, each of which may be the last. */
function stepsOf(
  stage: Stage,
  captured: readonly CapturedUplink[],
): Readonly<Record<string, () => string[]>> {
  const uplinks = stage.uplinks(captured);
  const texts = (refusals: readonly Refusal[]): string[] => refusals.map(({ error }) => error.message);
  const dress = (): string[] => texts(stage.host.dress(uplinks, captured, cluster));
  return {
    taken: () => {
      stage.host.take(captured);
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
      const now = stage.host.current(captured)!;
      stage.host.remember(now);
      const lines = (each: readonly CapturedUplink[]): string[] => fingerprint(each).split('\n');
      return [
        ...differences(lines(captured), lines(now)),
        ...texts(stage.host.redress(stage.uplinks(now), cluster)),
      ];
    },
  };
}

async function restored(stage: Stage, before: Shown, when: string): Promise<Outcome> {
  const { results } = await stage.restarted().restore();
  const failed = results.flatMap((result) => (result.outcome === 'failed' ? [result.reason] : []));
  return [
    [`${when}: restored`, failed],
    [`${when}: as it was`, await stage.differs(before)],
  ];
}

/** From what the host was over the tap to what it was. */
async function thereAndBack(stage: Stage): Promise<Outcome> {
  const before = stage.show();
  const { refused } = stage.odd;
  if (refused !== undefined) {
    return [
      ['refused', refusalOf(stage, refused)],
      ['nothing was touched', await stage.differs(before)],
    ];
  }
  const captured = stage.capture();
  const view = asTheUplink(new Set(captured.map(({ link }) => link.name)));
  const outcome: Outcome[number][] = [];
  for (const [name, step] of Object.entries(stepsOf(stage, captured))) {
    outcome.push([name, step()]);
    if (name === 'complete' || name === 'followed')
      outcome.push([`${name}: the tap is what the uplink was`, await stage.differs(before, view)]);
  }
  outcome.push(...(await restored(stage, before, 'at the end')));
  const told = captured.flatMap(({ leftovers }) => leftovers.map(({ prefix }) => prefix));
  const left = stage.namespace.routes().filter(({ prefix }) => told.includes(prefix));
  return [
    ...outcome,
    ['leftovers are told', differences([...(stage.odd.leftovers ?? [])].sort(), told.sort())],
    ['leftovers are gone', left.map(({ prefix }) => prefix)],
  ];
}

/** The node is killed behind each step, and with it VPP behind every second one. */
async function killedEverywhere(stage: Stage): Promise<Outcome> {
  if (stage.odd.refused !== undefined) return [];
  const before = stage.show();
  const outcome: Outcome[number][] = [];
  const names = Object.keys(stepsOf(stage, stage.capture()));
  for (const [at, last] of names.entries()) {
    const steps = Object.values(stepsOf(stage, stage.capture()));
    for (const step of steps.slice(0, at + 1)) step();
    const vpp_dies = at % 2 === 0;
    if (vpp_dies) stage.removeTaps();
    outcome.push(...(await restored(stage, before, `killed when ${last}${vpp_dies ? ', VPP too' : ''}`)));
    stage.removeTaps();
  }
  return outcome;
}

function refusalOf(stage: Stage, wanted: RegExp): string[] {
  try {
    stage.capture();
    return ['it is not refused'];
  } catch (error) {
    const { name, message } = error as Error;
    return name === 'UplinkError' && wanted.test(message) ? [] : [`${name}: ${message}`];
  }
}

/** All hosts at once, for the kernel takes its time on each; what goes wrong is told by host. */
async function ofAll(t: Test, run: (stage: Stage) => Promise<Outcome>): Promise<void> {
  t.setTimeout(240_000);
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

t.setTimeout(240_000);

t.test('what a host was it is again, and its tap was it meanwhile', root, (t) => ofAll(t, thereAndBack));

t.test('a host is what it was wherever the node is killed', root, (t) => ofAll(t, killedEverywhere));
