import t from 'tap';
import { bgp_process_settings, bgpProcess } from '../../src/actors/bgp-process.js';
import type { GobgpdExit, GobgpdLauncher, GobgpdRun } from '../../src/bgp/launcher.js';
import type { BgpMessage, BgpProcessMessage } from '../../src/messages/bgp.js';
import { actorKit, supervision, type Teardown } from '../kit/actor-kit.js';

/** Runs no process: its gobgpds live until the test ends them. */
class FakeLauncher implements GobgpdLauncher {
  readonly log: string[] = [];
  refuses: string | undefined;
  #pid = 100;
  #alive: GobgpdRun | undefined;
  readonly #ends = new Map<number, ((exit: GobgpdExit) => void)[]>();

  /** One that an earlier life has started. */
  running(): void {
    this.#make();
  }

  async adopt(): Promise<GobgpdRun | undefined> {
    return this.#alive && { ...this.#alive, adopted: true, exited: this.#exitOf(this.#alive.pid) };
  }

  async start(): Promise<GobgpdRun> {
    if (this.refuses !== undefined) throw new Error(this.refuses);
    const run = this.#make();
    this.log.push(`start ${run.pid}`);
    return run;
  }

  end(run: GobgpdRun): void {
    this.log.push(`end ${run.pid}`);
  }

  buried(run: GobgpdRun): void {
    this.log.push(`buried ${run.pid}`);
  }

  forget(): void {
    this.log.push('forget');
  }

  trimOutput(): void {
    this.log.push('trim');
  }

  die(pid: number): void {
    this.#alive = undefined;
    for (const tell of this.#ends.get(pid) ?? []) tell({ pid, reason: 'SIGSEGV' });
  }

  take(): string[] {
    return this.log.splice(0).filter((line) => line !== 'trim');
  }

  #make(): GobgpdRun {
    this.#pid += 1;
    const pid = this.#pid;
    const run = {
      pid,
      api_socket: '',
      version: '',
      adopted: false,
      succeeds: false,
      exited: this.#exitOf(pid),
    };
    this.#alive = run;
    return run;
  }

  #exitOf(pid: number): Promise<GobgpdExit> {
    return new Promise((resolve) => this.#ends.set(pid, [...(this.#ends.get(pid) ?? []), resolve]));
  }
}

async function started(t: Teardown, launcher = new FakeLauncher()) {
  const kit = await actorKit<BgpProcessMessage>(t, bgpProcess(launcher), {
    supervision: supervision({ intensity: { restarts_max: 5, window_ms: 600_000 } }),
  });
  const session = kit.mailbox<BgpMessage>('session');
  await kit.tell({ type: 'Attach', session: session.ref });
  const told = async () =>
    (await session.messages()).map((message) =>
      message.type === 'Started'
        ? `Started ${message.run.pid}${message.run.adopted ? ' adopted' : ''}`
        : message.type === 'Gone'
          ? `Gone ${message.exit.pid}: ${message.exit.reason}`
          : message.type,
    );
  const die = async (pid: number): Promise<void> => {
    launcher.die(pid);
    await kit.settle();
  };
  return { kit, launcher, told, die };
}

t.test('a gobgpd of an earlier life is adopted and not started', async (t) => {
  const launcher = new FakeLauncher();
  launcher.running();
  const { told } = await started(t, launcher);
  t.same(launcher.take(), []);
  t.same(await told(), ['Started 101 adopted']);
});

t.test('one that dies is followed by another at once, then after longer and longer', async (t) => {
  const { kit, launcher, told, die } = await started(t);
  t.same(await told(), ['Started 101']);
  launcher.take();
  await die(101);
  await kit.clock.advance(0);
  t.same(launcher.take(), ['buried 101', 'start 102']);
  t.same(await told(), ['Gone 101: SIGSEGV', 'Started 102']);
  await die(102);
  await kit.clock.advance(249);
  t.same(launcher.take(), ['buried 102']);
  await kit.clock.advance(1);
  t.same(launcher.take(), ['start 103']);
  await die(103);
  await kit.clock.advance(499);
  t.same(launcher.take(), ['buried 103']);
  await kit.clock.advance(1);
  t.same(launcher.take(), ['start 104']);
  await kit.clock.advance(bgp_process_settings.deaths_window_ms);
  await die(104);
  await kit.clock.advance(0);
  t.same(launcher.take(), ['buried 104', 'start 105'], 'old deaths are forgiven');
});

t.test('where there is none it is said, and looked for again', async (t) => {
  const launcher = new FakeLauncher();
  launcher.refuses = 'gobgpd is not there';
  const { kit, told } = await started(t, launcher);
  t.match(await told(), [/Gone 0: cannot be started: gobgpd is not there/]);
  t.match(kit.node().gauges, { pid: 0, last_exit: /gobgpd is not there/ });
  await kit.clock.advance(60_000);
  launcher.refuses = undefined;
  await kit.clock.advance(bgp_process_settings.backoff_max_ms);
  t.match((await told()).at(-1), /Started 101/);
});

t.test('one that is to begin anew is ended once, and only if it is the one that is meant', async (t) => {
  const { kit, launcher, told, die } = await started(t);
  launcher.take();
  await kit.tell({ type: 'Renew', pid: 99, reason: 'old' });
  await kit.tell({ type: 'Exited', exit: { pid: 99, reason: 'old' } });
  t.same(launcher.take(), []);
  await kit.tell({ type: 'Renew', pid: 101, reason: 'another AS' });
  await kit.tell({ type: 'Renew', pid: 101, reason: 'another AS' });
  t.same(launcher.take(), ['end 101']);
  await die(101);
  await kit.clock.advance(0);
  t.same((await told()).slice(1), ['Gone 101: ended here (another AS); SIGSEGV', 'Started 102']);
});

t.test('a crash of the actor adopts what it had, and a death is told once', async (t) => {
  const { kit, launcher, told, die } = await started(t);
  await kit.crash(new Error('defect'));
  await kit.clock.advance(1000);
  const session = kit.mailbox<BgpMessage>('session');
  await kit.tell({ type: 'Attach', session: session.ref });
  t.same(await told(), ['Started 101', 'Started 101 adopted']);
  launcher.take();
  await die(101);
  await kit.clock.advance(0);
  t.same(launcher.take(), ['buried 101', 'start 102']);
});

t.test('its output is looked at now and then', async (t) => {
  const { kit, launcher } = await started(t);
  await kit.clock.advance(bgp_process_settings.trim_ms * 2);
  t.equal(launcher.log.filter((line) => line === 'trim').length, 2);
});
