/**
 * Keeps the nftables table of the host's own services (desired/host-services.ts) in the kernel: replaced as a whole in one transaction when
 * it has changed, and put back where somebody has removed it, as a firewall does that begins with `flush ruleset`. Tables of others are
 * neither read nor touched.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Clock, Timer } from '../clock.js';
import { type HostRules, host_maps, host_table, hostRules, no_host_rules } from '../desired/host-services.js';
import { silence_removal, silence_table } from '../desired/host-silence.js';
import type { HostVip } from '../desired/services/vips.js';
import type { CommandResult, RunCommand } from '../host/command.js';
import type { UndoStep } from '../host/undo/undo-step.js';
import type { Log } from '../log.js';

export interface HostServicesDeps {
  /** That of the uplinks: the table goes when the host gets its network back. */
  readonly journal: {
    pending(): UndoStep[];
    record(steps: readonly UndoStep[]): void;
    undone(steps: ReadonlySet<UndoStep>): void;
  };
  /** Where the host's file system is mounted, whose `nft` is used where there is none beside this process. */
  readonly host_root: string | undefined;
  readonly run: RunCommand;
  readonly clock: Clock;
  readonly log: Log;
}

export interface HostServicesStatus {
  /** In the kernel, as far as is known. */
  readonly vips: number;
  /** How long the last transaction took. */
  readonly took_ms: number;
  /** Why the kernel has not what it should, and when that is tried again. */
  readonly fault?: string;
  /** By `address port protocol`. */
  readonly faults: ReadonlyMap<string, string>;
}

/** For one call of nft, which takes some hundred milliseconds for thousands of services. */
const nft_ms = 10_000;
const retry_first_ms = 1000;
const retry_max_ms = 60_000;
const audit_ms = 10_000;
/** Of the time, nft is at work a fifth at most when changes keep coming, and a hundredth to look whether the table is there. */
const pause_for_write = 4;
const pause_for_audit = 100;
const pause_min_ms = 100;
/** VIPs made into rules in one turn of the event loop. */
const piece = 256;

const no_nft =
  'nft is neither in the image nor on the host: processes of the host do not reach back ends on this node, nor their own node ports; install nftables';

/** Nothing is wanted until `set` is called, and what an earlier life has left stays till then. */
export class HostServices {
  readonly #deps: HostServicesDeps;
  #asked: readonly HostVip[] | undefined;
  /** Made when it is its turn, for it takes some milliseconds for thousands of VIPs. */
  #rules: HostRules | undefined;
  #made_of: readonly HostVip[] | undefined;
  /** What the kernel has; `null`: not known. */
  #there: HostRules['text'] | null = null;
  #vips = 0;
  #is_on = false;
  /** The undo of a VPP that has died may have come before the last write: what that has left is to go, though nobody serves. */
  #is_stray = false;
  #nft: readonly string[] | undefined;
  #turn: Promise<void> | undefined;
  #retry: Timer | undefined;
  #retry_ms = retry_first_ms;
  #audit: Timer | undefined;
  #look_due = false;
  #look_ms = 0;
  #took_ms = 0;
  #free_ms = Number.NEGATIVE_INFINITY;
  #fault: string | undefined;
  readonly #closing = new AbortController();

  constructor(deps: HostServicesDeps) {
    this.#deps = deps;
  }

  /**
   * All that the host is to translate by now; no VIP: there is no table. Resolves when the kernel has it, or a later one, or when that has failed: it is
   * tried again after 1 to 60 s, and not before. Of wishes that come while one is written the last is written. Never rejects.
   */
  set(vips: readonly HostVip[]): Promise<void> {
    this.#asked = vips;
    return this.#retry === undefined ? this.#begin() : Promise.resolve();
  }

  /**
   * Has VPP the uplinks? While it has not, nothing is changed: the table stays where VPP lives on without being heard, and goes with the undo where
   * it has died. Resolves as `set`. Never rejects.
   */
  serve(is_on: boolean): Promise<void> {
    if (this.#is_on === is_on) return Promise.resolve();
    this.#is_on = is_on;
    // The undo may have removed it.
    this.#there = null;
    return is_on ? this.#begin() : Promise.resolve();
  }

  status(): HostServicesStatus {
    return {
      vips: this.#vips,
      took_ms: Math.round(this.#took_ms),
      ...(this.#fault !== undefined && { fault: this.#fault }),
      faults: this.#rules?.faults ?? new Map(),
    };
  }

  /** From now on nothing is changed any more: what is there is the undo's. Resolves when what is under way has ended. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#retry?.cancel();
    this.#audit?.cancel();
    await this.#turn;
  }

  #begin(): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.resolve();
    this.#turn ??= this.#work();
    return this.#turn;
  }

  /** Writes until the kernel has what is wanted, or does not take it. */
  async #work(): Promise<void> {
    // Whoever has begun it knows of it before it ends.
    await undefined;
    const { clock, log } = this.#deps;
    const { signal } = this.#closing;
    this.#retry = undefined;
    this.#audit?.cancel();
    try {
      if (this.#look_due && this.#is_on) await this.#look();
      while (this.#isBehind()) {
        const pause_ms = this.#free_ms - clock.now_ms();
        if (pause_ms > 0 && !this.#is_stray) await clock.sleep(pause_ms, signal);
        signal.throwIfAborted();
        await this.#advance();
      }
      if (!this.#is_on) return;
      if (this.#fault !== undefined) log.info({}, 'services(host) the host reaches its services again');
      this.#fault = undefined;
      this.#retry_ms = retry_first_ms;
      if (!signal.aborted && typeof this.#there === 'string') {
        this.#audit = clock.after(Math.max(audit_ms, pause_for_audit * this.#look_ms), () => {
          this.#look_due = true;
          void this.#begin();
        });
      }
    } catch (error) {
      if (signal.aborted) return;
      const { message } = error as Error;
      if (message !== this.#fault) log.warn({ again_ms: this.#retry_ms }, `services(host) ${message}`);
      this.#fault = message;
      this.#retry = clock.after(this.#retry_ms, () => void this.#begin());
      this.#retry_ms = Math.min(2 * this.#retry_ms, retry_max_ms);
    } finally {
      this.#turn = undefined;
    }
  }

  #isBehind(): boolean {
    if (!this.#is_on) return this.#is_stray;
    if (this.#asked === undefined) return false;
    return this.#made_of !== this.#asked || this.#rules?.text !== this.#there;
  }

  /** What was asked last goes into the kernel, whatever is asked meanwhile. */
  async #advance(): Promise<void> {
    if (!this.#is_on) return this.#retract();
    const { clock } = this.#deps;
    const asked = this.#asked!;
    if (this.#made_of !== asked || this.#rules === undefined) {
      this.#rules = await this.#rulesOf(asked);
      this.#made_of = asked;
    }
    const { text, vips } = this.#rules;
    if (text === this.#there || !this.#is_on) return;
    const began_ms = clock.now_ms();
    try {
      if (text === undefined) await this.#remove();
      else await this.#replace(text);
    } finally {
      // Nor does one that has failed say whether it has come to something.
      this.#is_stray = !this.#is_on && text !== undefined;
      this.#took_ms = clock.now_ms() - began_ms;
      this.#free_ms = clock.now_ms() + Math.max(pause_min_ms, pause_for_write * this.#took_ms);
    }
    this.#there = this.#is_on ? text : null;
    this.#vips = vips;
  }

  /** Until it has gone it is the undo's, too. */
  async #retract(): Promise<void> {
    const nft = await this.#program();
    if (nft !== undefined) this.#record(undoStep(nft));
    await this.#remove();
    this.#is_stray = false;
  }

  /** In pieces: the first time it takes a while. */
  async #rulesOf(vips: readonly HostVip[]): Promise<HostRules> {
    for (let at = 0; at < vips.length; at += piece) {
      hostRules(vips.slice(at, at + piece));
      await new Promise<void>((resolve) => this.#deps.clock.afterPoll(resolve));
    }
    return hostRules(vips);
  }

  async #replace(text: string): Promise<void> {
    const nft = await this.#program();
    if (nft === undefined) throw new Error(no_nft);
    this.#record(undoStep(nft));
    this.#there = null;
    await this.#say([...nft, '-f', '-'], text);
  }

  /** The first time it is not known whether an earlier life has left one. Without nft there is none. */
  async #remove(): Promise<void> {
    const nft = await this.#program();
    if (nft !== undefined && (await this.#list(nft)) !== undefined)
      await this.#say([...nft, '-f', '-'], no_host_rules);
    this.#forget();
  }

  /** The chain through which all goes; undefined: it is not there. */
  async #list(nft: readonly string[]): Promise<string | undefined> {
    const result = await this.#deps.run([...nft, ...list_chain], { timeout_ms: nft_ms });
    if (result.code === 0) return result.stdout;
    if (result.code === 1) return undefined;
    throw this.#failed(result);
  }

  async #say(argv: readonly string[], input: string): Promise<void> {
    const result = await this.#deps.run(argv, { timeout_ms: nft_ms, input });
    if (result.code !== 0) throw this.#failed(result);
  }

  #failed({ code, stderr }: CommandResult): Error {
    // It may be gone, or another: it is looked for again.
    this.#nft = undefined;
    if (code === 124)
      return new Error(
        `nft did not end within ${nft_ms / 1000} s, or was killed: see what keeps the kernel busy`,
      );
    return new Error(`nft ended with exit status ${code}: ${stderr.trim().slice(0, 300)}`);
  }

  async #program(): Promise<readonly string[] | undefined> {
    this.#nft ??= await findNft(this.#deps);
    return this.#nft;
  }

  #record(step: UndoStep): void {
    const { journal } = this.#deps;
    if (!journal.pending().some((other) => isDeepStrictEqual(other, step))) journal.record([step]);
  }

  /** A step that stays is harmless. */
  #forget(): void {
    const { journal, log } = this.#deps;
    try {
      journal.undone(new Set(journal.pending().filter(isOwnStep)));
    } catch (error) {
      log.warn({ err: error as Error }, `services(host) ${(error as Error).message}`);
    }
  }

  /** Somebody may have removed or emptied the table. What he changes inside of a map is not seen. */
  async #look(): Promise<void> {
    const { clock, log } = this.#deps;
    this.#look_due = false;
    const began_ms = clock.now_ms();
    const nft = await this.#program();
    const shown = (nft && (await this.#list(nft))) ?? '';
    this.#look_ms = clock.now_ms() - began_ms;
    if (host_maps.every((map) => shown.includes(map)) || typeof this.#there !== 'string') return;
    this.#there = null;
    log.warn({}, `services(host) the table ${host_table} is not as it was written: it is written again`);
  }
}

const list_chain = ['list', 'chain', ...host_table.split(' '), 'output'];

/** How to call nft: that of this process, else of the host. Both speak to the same kernel. Undefined: there is none. */
export async function findNft({
  run,
  host_root,
}: Pick<HostServicesDeps, 'run' | 'host_root'>): Promise<readonly string[] | undefined> {
  const places = [['nft'], ...(host_root ? [['chroot', host_root, 'nft']] : [])];
  for (const nft of places) {
    if ((await run([...nft, '--version'], { timeout_ms: nft_ms })).code === 0) return nft;
  }
  return undefined;
}

function undoStep(nft: readonly string[]): UndoStep {
  const argv = [...nft, removal];
  return { kind: 'run_command', argv, timeout_ms: nft_ms, after_boot: false };
}

const removal = no_host_rules.trim().replaceAll('\n', '; ');

const isOwnStep = (step: UndoStep): boolean => step.kind === 'run_command' && step.argv.at(-1) === removal;

/** Each with the chain that it has, and what removes it. */
const tables = [
  { table: host_table, chain: 'output', removal },
  { table: silence_table, chain: 'input', removal: silence_removal },
];

/** Which of our tables are there. Empty, too, where there is no nft to ask. */
export async function hostTables(
  tools: Pick<HostServicesDeps, 'run' | 'host_root'>,
): Promise<readonly string[]> {
  const nft = await findNft(tools);
  if (nft === undefined) return [];
  const there: string[] = [];
  for (const { table, chain } of tables) if (await hasChain(tools.run, nft, table, chain)) there.push(table);
  return there;
}

const hasChain = async (run: RunCommand, nft: readonly string[], table: string, chain: string) =>
  (await run([...nft, 'list', 'chain', ...table.split(' '), chain], { timeout_ms: nft_ms })).code === 0;

/**
 * For the end of a node: tables that no journal tells of, because that was lost. Answers which were there, and are gone; where nothing is
 * there nothing is changed. Throws where one cannot be removed, when the others are gone.
 */
export async function removeHostTables(
  tools: Pick<HostServicesDeps, 'run' | 'host_root'>,
): Promise<readonly string[]> {
  const nft = await findNft(tools);
  if (nft === undefined) return [];
  const removed: string[] = [];
  const left: string[] = [];
  for (const { table, chain, removal } of tables) {
    if (!(await hasChain(tools.run, nft, table, chain))) continue;
    const { code, stderr } = await tools.run([...nft, removal], { timeout_ms: nft_ms });
    if (code === 0) removed.push(table);
    else
      left.push(
        `the nftables table ${table} is left: ${stderr.trim().slice(0, 300)}; remove it with "nft delete table ${table}"`,
      );
  }
  if (left.length > 0) throw new Error(left.join('; '));
  return removed;
}
