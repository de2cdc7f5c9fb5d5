/** The host's own services with a real kernel: real sockets in a namespace, and the table as `nft` shows it. */

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { hostInside } from '../../lab/host-inside.js';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import { patience } from '../../lab/patience.js';
import { missing } from '../../lab/programs.js';
import type { Inside } from '../../lab/site.js';
import { Traffic } from '../../lab/traffic.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { systemClock } from '../../src/clock.js';
import { no_host_rules } from '../../src/desired/host-services.js';
import type { HostVip } from '../../src/desired/services/vips.js';
import { type RunCommand, runCommand } from '../../src/host/command.js';
import { undo } from '../../src/host/undo/undo.js';
import { openJournal } from '../../src/host/undo/undo-journal.js';
import { createLog } from '../../src/log.js';
import { HostServices, removeHostTables } from '../../src/services/host-services.js';
import { HostSilence, silence_ms } from '../../src/services/host-silence.js';
import { needs } from '../kit/needs.js';

const reason = canUseNetns() ?? missing('nft');
const root = needs(reason);

const log = createLog({ format: 'text', level: 'fatal', clock: systemClock, write: () => true });

/**
 * A host whose way to VPP is `eth0`: behind it, in `peer`, are the gateway, which has no service, and a pod. It looks at sources as strictly as
 * Linux can.
 */
const host = { ip4: '192.0.2.2', ip6: '2001:db8::2' };
const pod = { ip4: '10.0.0.5', ip6: 'fd00:10::5' };
const cluster_ip = { ip4: '10.96.0.1', ip6: 'fd00:96::1' };
const families = ['ip4', 'ip6'] as const;

class Stage implements Inside {
  readonly lab = new NetnsLab();
  readonly traffic = new Traffic(this);
  readonly directory = mkdtempSync(join(tmpdir(), 'host-services-'));
  readonly clock = new TurnedClock();
  run: RunCommand = (argv, options) => runCommand(this.inside('node', argv).flat(), options);
  readonly services: HostServices;

  constructor(test: Test) {
    test.teardown(async () => {
      await this.services.close();
      this.traffic.close();
      this.lab.close();
      rmSync(this.directory, { recursive: true });
    });
    const node = this.lab.open('node');
    this.lab.veth(
      { namespace: 'node', name: 'eth0', addresses: [`${host.ip4}/24`, `${host.ip6}/64`] },
      { namespace: 'peer', name: 'p0', addresses: ['192.0.2.1/24', '2001:db8::1/64'] },
    );
    for (const name of ['all', 'default', 'eth0', 'lo'])
      node.writeSysctl(`net/ipv4/conf/${name}/rp_filter`, '1');
    const ip = (at: string, ...words: string[]) => this.lab.run(at, 'ip', ...words);
    this.lab.veth(
      { namespace: 'peer', name: 'p1', addresses: ['10.0.0.1/24', 'fd00:10::1/64'] },
      { namespace: 'pod', name: 'eth0', addresses: [`${pod.ip4}/24`, `${pod.ip6}/64`] },
    );
    const peer = this.lab.open('peer');
    peer.writeSysctl('net/ipv4/ip_forward', '1');
    peer.writeSysctl('net/ipv6/conf/all/forwarding', '1');
    ip('pod', 'route', 'add', 'default', 'via', '10.0.0.1');
    ip('pod', '-6', 'route', 'add', 'default', 'via', 'fd00:10::1');
    ip('node', 'route', 'add', 'default', 'via', '192.0.2.1');
    ip('node', '-6', 'route', 'add', 'default', 'via', '2001:db8::1');
    this.services = this.life();
    void this.services.serve(true);
  }

  inside(name: string, argv: readonly string[]): [string, string[]] {
    return ['nsenter', [`--net=${this.lab.namespace(name)}`, '--', ...argv]];
  }

  spawn(name: string, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn(...this.inside(name, argv), options);
  }

  /** As another process has it that finds the same files. */
  journal() {
    return openJournal(join(this.directory, 'undo.journal'), 'boot', 0).journal;
  }

  life(): HostServices {
    const run: RunCommand = (argv, options) => this.run(argv, options);
    return new HostServices({ journal: this.journal(), host_root: undefined, run, clock: this.clock, log });
  }

  nft(...words: string[]): string {
    return this.lab.run('node', 'nft', ...words);
  }

  tables(): string {
    return this.nft('list', 'tables').trim();
  }

  /** Sets them, after the pause that the write before has to leave to others. */
  async put(...vips: HostVip[]): Promise<void> {
    let is_done = false;
    void this.services.set(vips).then(() => {
      is_done = true;
    });
    await this.until(() => is_done);
  }

  /** Programs take their time; the clock is turned only when something waits for it. */
  async until(holds: () => boolean): Promise<void> {
    const deadline = performance.now() + 20_000 * patience;
    while (!holds()) {
      if (performance.now() > deadline) throw new Error('it does not come to hold');
      if (this.clock.next_ms === undefined) await new Promise((resolve) => setTimeout(resolve, 2));
      else await this.clock.advance(this.clock.next_ms);
    }
  }
}

const vip = (
  address: string,
  port: number,
  protocol: HostVip['protocol'],
  ...backends: HostVip['backends'][0][]
) => ({
  address,
  port,
  protocol,
  backends,
});

const protocols = ['tcp', 'udp'] as const;

/** A service with a port each for TCP and UDP, and the same on the node's own address. */
const local = (family: 'ip4' | 'ip6'): HostVip[] =>
  protocols.flatMap((protocol) => [
    vip(cluster_ip[family], 80, protocol, { address: host[family], port: 8080 }),
    vip(host[family], 30080, protocol, { address: pod[family], port: 8080 }),
  ]);
const both = families.flatMap(local);

t.test(
  'the host reaches a process of its own by the service, and a pod by its own node port',
  root(),
  async (t) => {
    const stage = new Stage(t);
    const { traffic } = stage;
    const early = await traffic.udp('node', 'node', cluster_ip.ip4, {
      port: 80,
      listen_port: 8080,
      count: 1,
      wait_ms: 200,
    });
    t.equal(early.answered, 0, 'without the table nobody answers');
    t.equal(stage.tables(), '');
    await stage.put(...both);
    t.match(stage.services.status(), { vips: 8, faults: new Map() });
    t.equal(stage.services.status().fault, undefined);
    for (const family of families) {
      for (const [to, address, port] of [
        ['node', cluster_ip[family], 80],
        ['pod', host[family], 30080],
      ] as const) {
        const through = `${family}: ${address} port ${port}`;
        const tcp = await traffic.tcp('node', to, address, { port, listen_port: 8080, bytes: 100_000 });
        t.match(tcp, { whole: true, receipt: { peer: host[family] } }, `${through}, TCP`);
        const udp = await traffic.udp('node', to, address, { port, listen_port: 8080 });
        t.strictSame(udp, { answered: 5, seen_as: [host[family]], answered_by: [to] }, `${through}, UDP`);
      }
    }
    const own = await traffic.tcp('node', 'node', host.ip4, { port: 8080, bytes: 1000 });
    t.ok(own.whole, 'what is no service is left alone');
    const through = await traffic.tcp('peer', 'node', host.ip4, {
      port: 30080,
      listen_port: 8080,
      bytes: 1000,
      deadline_ms: 1000,
    });
    t.notOk(through.whole, 'nor is it for others: what comes from outside is of VPP');

    await stage.put();
    t.equal(stage.tables(), '', 'without a VIP there is no table');
    t.strictSame(stage.journal().pending(), [], 'and nothing to undo');
  },
);

t.test('several back ends get their shares, and with affinity one gets all', root(), async (t) => {
  const stage = new Stage(t);
  const backends = [host.ip4, pod.ip4].map((address) => ({ address, port: 8080 }));
  const service = { address: cluster_ip.ip4, port: 80, protocol: 'tcp', backends } as const;
  const shares = async (): Promise<number> => {
    const peers: number[] = [];
    for (let at = 0; at < 24; at++) {
      const { whole } = await stage.traffic.tcp('node', 'node', cluster_ip.ip4, {
        port: 80,
        listen_port: 8080,
        bytes: 10,
        deadline_ms: 2000,
      });
      peers.push(Number(whole));
    }
    return peers.reduce((sum, each) => sum + each, 0);
  };
  // The pod listens, too, and says so: it answers with as many bytes.
  await stage.traffic.tcp('pod', 'pod', pod.ip4, { port: 8080, bytes: 10 });
  await stage.put(service);
  t.equal(await shares(), 24, 'all are answered');
  const entries = (): number[] => {
    const conntrack = stage.lab.run('node', 'cat', '/proc/net/nf_conntrack').split('\n');
    const to = (address: string) =>
      conntrack.filter(
        (line) =>
          line.includes(`dst=${cluster_ip.ip4}`) &&
          line.includes(`src=${address} `) &&
          line.lastIndexOf(`src=${address} `) > line.indexOf('dport='),
      ).length;
    return [to(host.ip4), to(pod.ip4)];
  };
  const [to_host = 0, to_pod = 0] = entries();
  t.ok(to_host > 2 && to_pod > 2, `${to_host} to the host, ${to_pod} to the pod`);
  await stage.put({ ...service, affinity: true });
  const before = entries();
  t.equal(await shares(), 24);
  const [more_to_host = 0, more_to_pod = 0] = entries();
  const more = [more_to_host - before[0]!, more_to_pod - before[1]!].sort((a, b) => a - b);
  t.strictSame(more, [0, 24], 'all to one');
});

t.test('rules of others stay as they are, and come first', root(), async (t) => {
  const stage = new Stage(t);
  const { traffic } = stage;
  // As kube-proxy has them: for a service of its own, and for one that is ours, too.
  const elsewhere = '203.0.113.9';
  const foreign = `table ip kube-proxy {
    map service-ips { type ipv4_addr . inet_proto . inet_service : verdict
      elements = { 10.96.0.77 . tcp . 80 : goto svc-a, ${cluster_ip.ip4} . udp . 80 : goto svc-b }
    }
    chain svc-a { meta l4proto tcp dnat to ${host.ip4}:8080; }
    chain svc-b { meta l4proto udp dnat to ${elsewhere}:8080; }
    chain nat-output { type nat hook output priority -100; ip daddr . meta l4proto . th dport vmap @service-ips; }
    chain nat-postrouting { type nat hook postrouting priority 100; meta mark and 0x4000 == 0x4000 masquerade; }
  }
  table inet firewall { chain out { type filter hook output priority 0; policy accept; ct state invalid drop; }; }
  `;
  const file = join(stage.directory, 'foreign.nft');
  writeFileSync(file, foreign);
  stage.nft('-f', file);
  const others = () =>
    ['ip kube-proxy', 'inet firewall'].map((table) => stage.nft('list', 'table', ...table.split(' ')));
  const before = others();
  await stage.put(...both);
  t.match(
    await traffic.tcp('node', 'node', cluster_ip.ip4, { port: 80, listen_port: 8080 }),
    { whole: true },
    'ours works',
  );
  t.match(
    await traffic.tcp('node', 'node', '10.96.0.77', { port: 80, listen_port: 8080 }),
    { whole: true },
    'theirs, too',
  );
  const udp = await traffic.udp('node', 'node', cluster_ip.ip4, {
    port: 80,
    listen_port: 8080,
    count: 1,
    wait_ms: 200,
  });
  t.equal(udp.answered, 0, 'who translates already goes on doing so');
  await stage.put(both[0]!);
  await stage.put();
  t.strictSame(others(), before, 'nothing of theirs has changed');
});

t.test('a connection outlives changes of the table', root(), async (t) => {
  const stage = new Stage(t);
  await stage.put(...both);
  const transfer = stage.traffic.tcp('node', 'node', cluster_ip.ip4, {
    port: 80,
    listen_port: 8080,
    bytes: 50_000_000,
  });
  let changes = 0;
  const ended = transfer.then(() => true);
  while (
    !(await Promise.race([
      ended,
      stage
        .put(...both, vip('10.96.1.1', ++changes, 'tcp', { address: host.ip4, port: 1 }))
        .then(() => false),
    ]))
  );
  t.match(await transfer, { whole: true }, `through ${changes} changes`);
  t.ok(changes > 1);
});

t.test('a process that was killed: the journal has the table removed', root(), async (t) => {
  const stage = new Stage(t);
  const { run } = stage;
  let killed = (): void => undefined;
  // Killed between the record and the change, and then again behind the change.
  stage.run = async (argv, options) => {
    if (options.input !== undefined) killed();
    return run(argv, options);
  };
  const steps: number[] = [];
  killed = () => steps.push(stage.journal().pending().length);
  await stage.put(...both);
  t.strictSame(steps, [1], 'the undo is on the disk before the change');
  const tools = { host: hostInside(stage.lab, 'node'), clock: systemClock, run };
  for (const when of ['after the change', 'once more, for nothing']) {
    const { remaining } = await undo(stage.journal().pending(), tools, 0);
    t.strictSame(remaining, [], when);
    t.equal(stage.tables(), '');
  }
  await stage.put(...both.slice(1));
  t.equal(stage.journal().pending().length, 1, 'a step is recorded once');

  rmSync(join(stage.directory, 'undo.journal'));
  const silence = 'inet calico_vpp_silence';
  stage.nft(`table ${silence} { chain input { type filter hook input priority 0; }; }`);
  t.strictSame(
    await removeHostTables({ run, host_root: undefined }),
    ['inet calico_vpp_services', silence],
    'without a journal they are found by their names',
  );
  t.equal(stage.tables(), '');
  t.strictSame(await removeHostTables({ run, host_root: undefined }), []);
});

t.test('the next life replaces what the last one has left, or removes it', root(), async (t) => {
  const stage = new Stage(t);
  await stage.put(...both);
  await stage.services.close();
  const next = stage.life();
  t.teardown(() => next.close());
  await next.set([both[0]!]);
  t.match(
    stage.nft('list', 'table', 'inet', 'calico_vpp_services'),
    /30080/,
    'not before VPP has the uplinks',
  );
  await next.serve(true);
  t.match(stage.nft('list', 'table', 'inet', 'calico_vpp_services'), /10\.96\.0\.1/);
  t.notMatch(stage.nft('list', 'table', 'inet', 'calico_vpp_services'), /30080/);
  const last = stage.life();
  t.teardown(() => last.close());
  await last.serve(true);
  await last.set([]);
  t.equal(stage.tables(), '');
  t.strictSame(stage.journal().pending(), []);
});

t.test('VPP dies and another comes: what the undo has removed stays away till then', root(), async (t) => {
  const stage = new Stage(t);
  const { run } = stage;
  await stage.put(...both);
  await stage.services.serve(false);
  t.match(stage.tables(), 'calico_vpp_services', 'a VPP that is not heard may live');
  const tools = { host: hostInside(stage.lab, 'node'), clock: systemClock, run };
  await undo(stage.journal().pending(), tools, 0);
  await stage.services.set(both);
  await stage.clock.advance(100_000);
  t.equal(stage.tables(), '');
  let is_done = false;
  void stage.services.serve(true).then(() => {
    is_done = true;
  });
  await stage.until(() => is_done);
  t.match(stage.tables(), 'calico_vpp_services', 'although the same VIPs were there before');

  // VPP dies while nft is at work, and its undo is faster.
  stage.run = async (argv, options) => {
    if (options.input?.includes('10.96.9.9')) {
      void stage.services.serve(false);
      await undo(stage.journal().pending(), tools, 0);
    }
    return run(argv, options);
  };
  await stage.put(vip('10.96.9.9', 80, 'tcp', { address: host.ip4, port: 80 }));
  await stage.until(() => stage.tables() === '');
  t.equal(stage.tables(), '', 'what comes after the undo is removed');
  t.strictSame(stage.journal().pending(), []);

  // Nor does it stay where that fails at first; and till then it is the undo's.
  stage.run = run;
  void stage.services.serve(true);
  await stage.put(...both);
  let fails = 2;
  stage.run = async (argv, options) => {
    if (options.input?.includes('10.96.9.8')) {
      void stage.services.serve(false);
      await undo(stage.journal().pending(), tools, 0);
    } else if (options.input === no_host_rules && fails > 0) {
      fails -= 1;
      t.equal(stage.journal().pending().length, 1, 'a node that ends now removes it');
      return { code: 1, stdout: '', stderr: 'busy' };
    }
    return run(argv, options);
  };
  void stage.services.set([vip('10.96.9.8', 80, 'tcp', { address: host.ip4, port: 80 })]);
  await stage.until(() => fails === 0 && stage.tables() === '');
  await stage.until(() => stage.journal().pending().length === 0);
  t.equal(stage.tables(), '');
});

t.test('a table that somebody removes or empties is put back', root(), async (t) => {
  const stage = new Stage(t);
  await stage.put(...both);
  const table = stage.nft('list', 'table', 'inet', 'calico_vpp_services');
  for (const words of [
    ['flush', 'ruleset'],
    ['flush', 'table', 'inet', 'calico_vpp_services'],
  ]) {
    stage.nft(...words);
    t.not(stage.nft('list', 'ruleset').trim(), table.trim());
    await stage.until(() => stage.nft('list', 'ruleset').trim() === table.trim());
    t.equal(stage.nft('list', 'ruleset').trim(), table.trim(), words.join(' '));
  }
});

t.test('nft that hangs is killed, one that fails is told, and both are tried again', root(), async (t) => {
  const stage = new Stage(t);
  const { run } = stage;
  const script = join(stage.directory, 'nft');
  const be = (text: string) => {
    writeFileSync(script, `#!/bin/sh\n${text}\n`);
    chmodSync(script, 0o755);
  };
  const hangs = '[ "$1" = --version ] && exit 0; exec sleep 600';
  be(hangs);
  stage.run = (argv, options) =>
    argv[0] === 'nft'
      ? runCommand(stage.inside('node', [script, ...argv.slice(1)]).flat(), { ...options, timeout_ms: 200 })
      : run(argv, options);
  await stage.services.set(both);
  t.match(stage.services.status().fault, /nft did not end within 10 s/);
  be('[ "$1" = --version ] && exit 0; echo "Operation not permitted" >&2; exit 1');
  await stage.services.set(both);
  t.match(stage.services.status().fault, /did not end/, 'not before its time');
  await stage.until(() => /exit status 1: Operation not permitted/.test(stage.services.status().fault ?? ''));
  t.equal(stage.tables(), '');
  stage.run = run;
  await stage.until(() => stage.services.status().fault === undefined);
  t.match(stage.services.status(), { vips: 8 });
  t.match(stage.tables(), 'calico_vpp_services');
});

t.test('without nft the host is told so, and nothing else happens', root(), async (t) => {
  const stage = new Stage(t);
  stage.run = async () => ({ code: 127, stdout: '', stderr: 'not found' });
  await stage.services.set([]);
  t.equal(stage.services.status().fault, undefined, 'nobody needs it');
  await stage.put(...both);
  t.match(stage.services.status().fault, /nft is neither in the image nor on the host.*install nftables/);
  t.strictSame(stage.journal().pending(), []);
});

t.test('a journal that takes nothing keeps the table from being made', root(), async (t) => {
  const stage = new Stage(t);
  const journal = {
    pending: () => [],
    record: () => {
      throw new Error('disk full');
    },
    undone: () => undefined,
  };
  const services = new HostServices({
    journal,
    host_root: undefined,
    run: stage.run,
    clock: stage.clock,
    log,
  });
  t.teardown(() => services.close());
  await services.serve(true);
  await services.set(both);
  t.match(services.status().fault, /disk full/);
  t.equal(stage.tables(), '');
});

t.test('5000 VIPs with ten back ends each', root(), async (t) => {
  const stage = new Stage(t);
  const many = Array.from({ length: 5000 }, (_, at) =>
    vip(
      host.ip4,
      30_000 + at,
      'tcp',
      ...Array.from({ length: 10 }, (__, b) => ({ address: `10.${b}.${at >> 8}.${at & 255}`, port: 8080 })),
    ),
  );
  const timed = async (what: string, run: () => Promise<void>) => {
    const began = performance.now();
    await run();
    t.comment(`${what}: ${Math.round(performance.now() - began)} ms`);
  };
  await timed('written', () => stage.put(...many));
  t.equal(stage.services.status().vips, 5000);
  t.equal(stage.services.status().fault, undefined);
  await timed('one more', () => stage.put(...many, both[0]!));
  t.equal(stage.services.status().vips, 5001);
  t.match(await stage.traffic.tcp('node', 'node', cluster_ip.ip4, { port: 80, listen_port: 8080 }), {
    whole: true,
  });
  await timed('removed', () => stage.put());
  t.equal(stage.tables(), '');
});

t.test(
  'what VPP serves on an address of the node Linux does not answer, and for some seconds without VPP',
  root(),
  async (t) => {
    const stage = new Stage(t);
    const { traffic } = stage;
    const silence = new HostSilence({
      journal: stage.journal(),
      host_root: undefined,
      run: (argv, options) => stage.run(argv, options),
      clock: stage.clock,
      log,
    });
    t.teardown(() => silence.close());
    const table = 'inet calico_vpp_silence';
    const is_there = () => stage.tables().includes(table);
    /** How a connection from outside to a port at which nobody listens ends. */
    const from = async (at: string, family: 'ip4' | 'ip6', port: number) =>
      `${(await traffic.connect(at, host[family], port, { deadline_ms: 400 })).error}`;

    silence.set('pods', () => [{ protocol: 'tcp', address: host.ip4, port: 8443 }]);
    silence.serve(true);
    await stage.clock.advance(1000);
    t.equal(stage.tables(), '', 'nothing before services have told theirs, too');
    silence.set('services', () => both);
    await stage.until(is_there);
    t.equal(stage.journal().pending().length, 1, 'the end of the node removes it');
    for (const family of families) {
      t.notMatch(await from('peer', family, 30080), /REFUSED/, `${family}: a node port`);
      t.match(await from('peer', family, 30081), /REFUSED/, `${family}: another port`);
      t.match(await from('node', family, 30080), /REFUSED/, `${family}: the host itself is told`);
    }
    t.notMatch(await from('peer', 'ip4', 8443), /REFUSED/, 'a host port of a pod');
    const lost = await traffic.udp('peer', 'node', host.ip4, {
      port: 30080,
      listen_port: 30080,
      count: 1,
      wait_ms: 200,
    });
    t.equal(lost.answered, 0, 'UDP');

    // A new life of the pods' owner does not know what they have before it has read VPP.
    silence.set('pods', () => undefined);
    silence.set('services', () => []);
    await stage.clock.advance(1000);
    t.notMatch(await from('peer', 'ip4', 8443), /REFUSED/, 'who does not know yet takes nothing away');
    silence.set('services', () => both);
    silence.set('pods', () => [{ protocol: 'tcp', address: host.ip4, port: 8443 }]);

    silence.serve(false);
    await stage.clock.advance(silence_ms - 1000);
    t.ok(is_there(), 'VPP has died: another may come');
    silence.set('services', () => []);
    await stage.clock.advance(500);
    t.notMatch(await from('peer', 'ip4', 30080), /REFUSED/, 'what is told meanwhile waits for it');
    silence.serve(true);
    await stage.until(() => !stage.nft('list', 'table', ...table.split(' ')).includes('30080'));
    t.match(await from('peer', 'ip4', 30080), /REFUSED/, 'a service that is gone is refused');
    t.notMatch(await from('peer', 'ip4', 8443), /REFUSED/);

    silence.serve(false);
    await stage.clock.advance(silence_ms);
    await stage.until(() => !is_there());
    t.match(await from('peer', 'ip4', 8443), /REFUSED/, 'no VPP comes: Linux answers again');
    // It is written down when nft has said so, a moment after the kernel has done it.
    await stage.until(() => stage.journal().pending().length === 0);

    silence.serve(true);
    await stage.until(is_there);
    await silence.close();
    let fails = 1;
    stage.run = async (argv, options) => {
      if (options.input === undefined || fails-- <= 0)
        return runCommand(stage.inside('node', argv).flat(), options);
      return { code: 1, stdout: '', stderr: 'busy' };
    };
    const next = new HostSilence({
      journal: stage.journal(),
      host_root: undefined,
      run: (argv, options) => stage.run(argv, options),
      clock: stage.clock,
      log,
    });
    t.teardown(() => next.close());
    await stage.clock.advance(silence_ms);
    await stage.until(() => next.fault !== undefined);
    t.match(next.fault, /busy/);
    await stage.until(() => next.fault === undefined);
    t.notOk(is_there(), 'what a life before has left goes without a VPP, at the second try');
  },
);
