import t from 'tap';
import { type VppDoesNotEnd, type VppKeepsDying, vppProcess } from '../../src/actors/vpp-process.js';
import type { VppConnectionMessage, VppProcessMessage } from '../../src/messages/vpp.js';
import type { Launcher, VppExit, VppRun } from '../../src/vpp-conn/launcher.js';
import { type ActorKit, actorKit, supervision, type Teardown } from '../kit/actor-kit.js';

const settings = {
  deaths_max: 4,
  deaths_window_ms: 60_000,
  backoff_first_ms: 250,
  backoff_max_ms: 700,
  interrupt_ms: 2000,
  kill_ms: 10_000,
};

/** Runs no process: its VPPs live until the test ends them. */
class FakeLauncher implements Launcher {
  /** What was done, in order: `start 101`, `SIGINT 101`, `forget`. */
  readonly log: string[] = [];
  refuses: string | undefined;
  private pid = 100;
  private alive: VppRun | undefined;
  private readonly ends = new Map<number, ((exit: VppExit) => void)[]>();

  /** A VPP that an earlier life of the process has started. */
  running(): number {
    return this.make(false).pid;
  }

  isRunning(): boolean {
    return this.alive !== undefined;
  }

  adopt(): VppRun | undefined {
    return this.alive && { ...this.alive, adopted: true, exited: this.exitOf(this.alive.pid) };
  }

  start(): VppRun {
    if (this.refuses !== undefined) throw new Error(this.refuses);
    const run = this.make(false);
    this.log.push(`start ${run.pid}`);
    return run;
  }

  signal(run: VppRun, signal: 'SIGINT' | 'SIGKILL'): void {
    this.log.push(`${signal} ${run.pid}`);
  }

  keepClock(run: VppRun): void {
    this.log.push(`keep clock ${run.pid}`);
  }

  forget(): void {
    this.log.push('forget');
  }

  /** VPP dies: all who follow it are told. */
  end(pid: number, reason: string): void {
    this.alive = undefined;
    const signal = reason.startsWith('SIG') && { signal: reason as NodeJS.Signals };
    for (const tell of this.ends.get(pid) ?? []) tell({ pid, reason, ...signal });
  }

  take(): string[] {
    return this.log.splice(0);
  }

  private make(adopted: boolean): VppRun {
    this.pid += 1;
    const { pid } = this;
    const run = {
      pid,
      identity: `${pid} 1 boot`,
      api_socket: '/run/vpp/api.sock',
      adopted,
      exited: this.exitOf(pid),
    };
    this.alive = run;
    return run;
  }

  private exitOf(pid: number): Promise<VppExit> {
    return new Promise((resolve) => this.ends.set(pid, [...(this.ends.get(pid) ?? []), resolve]));
  }
}

async function started(t: Teardown, launcher = new FakeLauncher(), restarts_max = 0) {
  const given_up: (VppKeepsDying | VppDoesNotEnd)[] = [];
  const spec = vppProcess(launcher, settings, (reason) => given_up.push(reason));
  const kit: ActorKit<VppProcessMessage> = await actorKit(t, spec, {
    supervision: supervision({ intensity: { restarts_max, window_ms: 600_000 } }),
  });
  const connection = kit.mailbox<VppConnectionMessage>('connection');
  await kit.tell({ type: 'Attach', connection: connection.ref });
  /** What the connection was told since the last call: `Started 101`, `Gone 101: reason`. */
  const told = async (): Promise<string[]> =>
    (await connection.messages()).map((message) =>
      message.type === 'Started'
        ? `Started ${message.run.pid}${message.run.adopted ? ' adopted' : ''}`
        : message.type === 'Gone'
          ? `Gone ${message.exit.pid}: ${message.exit.reason}`
          : message.type,
    );
  const end = async (pid: number, reason = 'SIGSEGV'): Promise<void> => {
    launcher.end(pid, reason);
    await kit.settle();
  };
  return { kit, launcher, told, end, given_up };
}

t.test('a VPP of an earlier life is adopted and not started', async (t) => {
  const launcher = new FakeLauncher();
  launcher.running();
  const { told, kit } = await started(t, launcher);
  t.same(launcher.take(), []);
  t.same(await told(), ['Started 101 adopted']);
  t.match(kit.node().gauges, { pid: 101, adopted: true });
});

t.test(
  'without one to adopt VPP is started, and whoever attaches is told again of the same one',
  async (t) => {
    const { told, launcher, kit } = await started(t);
    t.same(launcher.take(), ['start 101']);
    t.same(await told(), ['Started 101']);
    await kit.tell({ type: 'Attach', connection: kit.mailbox<VppConnectionMessage>('connection').ref });
    t.same(await told(), ['Started 101']);
    t.same(launcher.take(), []);
  },
);

t.test(
  'the first start after a death is immediate, the next ones wait twice as long each, up to the maximum',
  async (t) => {
    const { told, launcher, end, kit } = await started(t);
    await told();
    launcher.take();
    const waits: (number | undefined)[] = [];
    for (const pid of [101, 102, 103, 104]) {
      await end(pid);
      t.same(await told(), [`Gone ${pid}: SIGSEGV`]);
      t.same(launcher.take(), ['forget'], 'the dead one is forgotten before the next one starts');
      const wait = kit.clock.next_ms ?? Number.NaN;
      waits.push(wait);
      if (wait > 0) {
        await kit.clock.advance(wait - 1);
        t.same(await told(), []);
      }
      await kit.clock.advance(Math.min(wait, 1));
      t.same(await told(), [`Started ${pid + 1}`]);
      t.same(launcher.take(), [`start ${pid + 1}`]);
    }
    t.same(waits, [0, 250, 500, 700]);
    t.match(kit.node().gauges, { pid: 105, lives: 5, deaths_in_window: 4, last_exit: 'SIGSEGV' });
  },
);

t.test('deaths older than the window are forgiven', async (t) => {
  const { end, kit } = await started(t);
  for (let pid = 101; pid < 120; pid++) {
    await end(pid);
    t.equal(kit.clock.next_ms, 0, 'each is the first one of its window');
    await kit.clock.advance(settings.deaths_window_ms);
  }
  t.equal(kit.escalated, undefined);
});

t.test('a VPP that keeps dying is given up, and a restart of the actor does not forgive it', async (t) => {
  const { end, kit, told, given_up, launcher } = await started(t, new FakeLauncher(), 1);
  for (const pid of [101, 102]) {
    await end(pid);
    await kit.clock.advance(700);
  }
  await kit.crash(new Error('defect'));
  await kit.clock.advance(100);
  await kit.tell({ type: 'Attach', connection: kit.mailbox<VppConnectionMessage>('connection').ref });
  for (const pid of [103, 104]) {
    await end(pid);
    await kit.clock.advance(700);
  }
  t.same(given_up, []);
  await told();
  launcher.take();
  await end(105, 'SIGABRT');
  t.same(await told(), ['Gone 105: SIGABRT'], 'the connection is told of the last death, too');
  t.match(given_up, [{ name: 'VppKeepsDying', message: 'VPP died 5 times within 60 s; last: SIGABRT' }]);
  await kit.clock.advance(60_000);
  t.same(launcher.take(), ['forget'], 'it is not started again');
  t.equal(kit.node().incarnation, 2, 'and no actor crashes of it');
});

t.test('whoever attaches while there is no VPP is told so', async (t) => {
  const { kit, told, end } = await started(t);
  await end(101);
  await kit.clock.advance(0);
  await end(102, 'SIGABRT');
  await told();
  await kit.tell({ type: 'Attach', connection: kit.mailbox<VppConnectionMessage>('connection').ref });
  t.same(await told(), ['Gone 0: SIGABRT']);
});

t.test('a start that throws counts as a death and is tried again', async (t) => {
  const launcher = new FakeLauncher();
  launcher.refuses = 'ENOSPC';
  const { kit, told } = await started(t, launcher);
  t.same(await told(), ['Gone 0: cannot be started: ENOSPC']);
  await kit.clock.advance(0);
  t.same(await told(), ['Gone 0: cannot be started: ENOSPC']);
  t.match(kit.node().gauges, { pid: 0, deaths_in_window: 2 });
  launcher.refuses = undefined;
  await kit.clock.advance(250);
  t.same(await told(), ['Started 101']);
  t.match(kit.node().gauges, { pid: 101, last_exit: 'cannot be started: ENOSPC' });
});

t.test(
  'Shutdown interrupts, kills what does not end in time, answers when VPP is gone, and keeps it down',
  async (t) => {
    const { kit, launcher, end } = await started(t);
    launcher.take();
    let answers = 0;
    for (let i = 0; i < 2; i++) {
      kit
        .ask<void>((reply) => ({ type: 'Shutdown', reply }), 60_000)
        .then(() => {
          answers += 1;
        });
    }
    await kit.settle();
    t.same([...new Set(launcher.take())], ['SIGINT 101']);
    await kit.clock.advance(settings.interrupt_ms - 1);
    t.same(launcher.take(), []);
    await kit.clock.advance(1);
    t.same([...new Set(launcher.take())], ['SIGKILL 101']);
    t.equal(answers, 0);
    await end(101, 'SIGKILL');
    t.equal(answers, 2);
    await kit.clock.advance(600_000);
    t.same(launcher.take(), ['forget'], 'nothing is started any more');
    t.match(kit.node().gauges, { deaths_in_window: 0 }, 'an end that was asked for is no death');
    await kit.ask<void>((reply) => ({ type: 'Shutdown', reply }));
    t.pass('a VPP that is down already is answered at once');
  },
);

t.test('a VPP that ends by the interrupt is not killed', async (t) => {
  const { kit, launcher, end } = await started(t);
  const answer = kit.ask<void>((reply) => ({ type: 'Shutdown', reply }), 60_000);
  await kit.settle();
  await end(101, 'SIGINT');
  await answer;
  await kit.clock.advance(60_000);
  t.same(launcher.take(), ['start 101', 'SIGINT 101', 'forget']);
});

t.test('Shutdown during the back-off keeps VPP down', async (t) => {
  const { kit, launcher, end } = await started(t);
  await end(101);
  await kit.clock.advance(0);
  await end(102);
  launcher.take();
  await kit.ask<void>((reply) => ({ type: 'Shutdown', reply }));
  await kit.clock.advance(60_000);
  t.same(launcher.take(), []);
});

t.test('Unresponsive kills the VPP with that pid and no other', async (t) => {
  const { kit, launcher, end, told } = await started(t, new FakeLauncher(), 3);
  launcher.take();
  await kit.tell({ type: 'Unresponsive', pid: 99, reason: 'probe' });
  t.same(launcher.take(), []);
  await kit.tell({ type: 'Unresponsive', pid: 101, reason: 'probe missed' });
  t.same(launcher.take(), ['SIGKILL 101']);
  await end(101, 'SIGKILL');
  await kit.clock.advance(0);
  await kit.tell({ type: 'Unresponsive', pid: 101, reason: 'late' });
  t.same(launcher.take(), ['forget', 'start 102']);
  const reason = 'killed because it did not answer (probe missed); SIGKILL';
  t.same(await told(), ['Started 101', `Gone 101: ${reason}`, 'Started 102']);
  t.match(kit.log.lines.slice(-2), [
    { level: 'error', text: 'vpp(kill) VPP does not answer', fields: { reason: 'probe missed' } },
    { level: 'error', text: 'vpp(exit) VPP died', fields: { reason } },
  ]);
  await end(102, 'SIGSEGV');
  t.match(await told(), ['Gone 102: SIGSEGV']);
  await kit.clock.advance(settings.backoff_max_ms);
  await kit.crash(new Error('defect'));
  await kit.clock.advance(100);
  await end(103, 'exit code 1');
  const described = kit.system.describe('root/vpp-process', 100);
  await kit.settle();
  t.strictSame(
    await described,
    { deaths: { silent: 1, SIGSEGV: 1, exit: 1 } },
    'deaths are counted by cause, over the lives of the actor',
  );
});

t.test(
  'Replace, and what is known of a clock, concern one VPP, and none that has taken its place',
  async (t) => {
    const { kit, launcher, end, told } = await started(t);
    const about = (pid: number) => ({ vpp: `${pid} 1 boot`, reason: 'its devices' });
    await end(101);
    await kit.clock.advance(0);
    launcher.take();
    await told();
    await kit.tell({ type: 'Replace', ...about(101) });
    await kit.tell({ type: 'KeepClock', ...about(101) });
    t.same(launcher.take(), [], 'it was told of one that had died meanwhile');
    await kit.tell({ type: 'KeepClock', ...about(102) });
    await kit.tell({ type: 'Replace', ...about(102) });
    await kit.tell({ type: 'Replace', ...about(102) });
    t.same(launcher.take(), ['keep clock 102', 'SIGINT 102']);
    await end(102, 'SIGINT');
    t.same(launcher.take(), ['forget', 'start 103']);
    t.same(await told(), ['Gone 102: replaced: its devices', 'Started 103']);
    t.match(kit.node().gauges, { deaths_in_window: 1 }, 'it is no death that counts');
  },
);

t.test('the exit of an older VPP changes nothing', async (t) => {
  const { kit, end, told } = await started(t);
  await end(101);
  await kit.clock.advance(0);
  await told();
  await kit.tell({ type: 'Exited', exit: { pid: 101, reason: 'late' } });
  t.same(await told(), []);
  t.match(kit.node().gauges, { pid: 102, deaths_in_window: 1 });
});

t.test('a restarted actor adopts its own VPP, whose death is then counted once', async (t) => {
  const { kit, launcher, end, told } = await started(t, new FakeLauncher(), 3);
  await kit.crash(new Error('defect'));
  await kit.clock.advance(100);
  t.match(kit.node(), { incarnation: 2, gauges: { pid: 101, adopted: true } });
  await kit.tell({ type: 'Attach', connection: kit.mailbox<VppConnectionMessage>('connection').ref });
  await told();
  launcher.take();
  await end(101);
  t.same(await told(), ['Gone 101: SIGSEGV']);
  t.match(kit.node().gauges, { deaths_in_window: 1 });
  await kit.clock.advance(0);
  t.same(launcher.take(), ['forget', 'start 102']);
});

t.test('a VPP that SIGKILL does not end is given up, and no other is started beside it', async (t) => {
  const { kit, launcher, end, told, given_up } = await started(t);
  await kit.tell({ type: 'Unresponsive', pid: 101, reason: 'probe missed' });
  await kit.clock.advance(settings.kill_ms - 1);
  t.same(await told(), ['Started 101']);
  await kit.clock.advance(1);
  const reason = 'SIGKILL has not ended VPP 101 within 10 s: it hangs in the kernel; restart the machine';
  t.same(await told(), [`Gone 101: ${reason}`]);
  t.match(given_up, [{ name: 'VppDoesNotEnd', message: reason }]);
  await kit.ask<void>((reply) => ({ type: 'Shutdown', reply }));
  await end(101, 'SIGKILL');
  await kit.clock.advance(600_000);
  t.same(await told(), [], 'that it ends after all is of no interest');
  t.same(launcher.take(), ['start 101', 'SIGKILL 101'], 'its record stays for the next life to find it');
});

t.test('a stop does not wait for ever for a VPP that SIGKILL does not end', async (t) => {
  const { kit, launcher, told, given_up } = await started(t);
  const answer = kit.ask<void>((reply) => ({ type: 'Shutdown', reply }), 60_000);
  await kit.clock.advance(settings.interrupt_ms + settings.kill_ms);
  await answer;
  t.match(await told(), ['Started 101', /^Gone 101: SIGKILL has not ended/]);
  t.same(launcher.take(), ['start 101', 'SIGINT 101', 'SIGKILL 101']);
  t.same(given_up, [], 'the node is stopping anyway');
});

t.test('a VPP that takes its time to end after SIGKILL is followed by the next one', async (t) => {
  const { kit, launcher, end, given_up } = await started(t);
  await kit.tell({ type: 'Unresponsive', pid: 101, reason: 'probe missed' });
  await kit.clock.advance(settings.kill_ms - 1);
  await end(101, 'SIGKILL');
  await kit.clock.advance(600_000);
  t.same(launcher.take(), ['start 101', 'SIGKILL 101', 'forget', 'start 102']);
  t.same(given_up, []);
});
