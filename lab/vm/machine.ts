/** A host with systemd that scripts can be run in: a virtual machine (qemu.ts), or a container (container.ts). */
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer, Request } from './channel.js';

export interface Ran {
  readonly code: number | null;
  readonly output: string;
}

const script_deadline_ms = 120_000;
/** Beyond that of a script, for the machine to say that it ended it. */
const answer_grace_ms = 20_000;

/** An uplink, and the card that becomes the other end of its wire. Cards are called by their slot. */
export const wires = [
  { uplink: 'enp0s16', other_end: 'enp0s17' },
  { uplink: 'enp0s18', other_end: 'enp0s19' },
] as const;

/**
 * What the machine's cards are. `plain`: what most machines have. `pci`: cards that a program can have from the kernel, behind an IOMMU, and
 * huge pages. `unsafe`: the same without an IOMMU, so that a program has them by vfio's unsafe mode.
 */
export type Hardware = 'plain' | 'pci' | 'unsafe';

/** The uplinks of a machine whose hardware is not `plain`, by what each is. Their other ends are as those of `wires`. */
export const pci_wires = {
  virtio: { uplink: 'enp0s16', other_end: 'enp0s17' },
  vmxnet3: { uplink: 'enp0s18', other_end: 'enp0s19' },
  e1000e: { uplink: 'enp0s20', other_end: 'enp0s21' },
  /** Of QEMU 8 and later. The slots of its virtual functions are 16 and 17 behind its own, where nothing else may be. */
  igb: { uplink: 'enp0s12', other_end: 'enp0s22' },
} as const;

/** By the slot that is in its name: enp0s16 is in 0x10. */
export function macOf(card: string): string {
  return `52:54:00:00:00:${Number(/\d+$/.exec(card)![0]).toString(16).padStart(2, '0')}`;
}

export abstract class Machine {
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #channel: Socket | undefined;
  #last_id = 0;

  /** What VPP needs in its environment there. */
  abstract readonly vpp_environment: Readonly<Record<string, string>>;

  /** Rejects when it has ended by itself. */
  protected abstract readonly gone: Promise<never>;

  protected abstract readonly boot_deadline_ms: number;

  /** For so long a host on it may be without its network when the uplink changes hands. Beyond what was seen on busy machines: docs/vm.md. */
  abstract readonly silence_ms_max: number;

  /** All is as it was after the first boot. */
  abstract fresh(): Promise<void>;

  /** Power off and on: what was not on the disk is lost. Resolves when it has booted again. */
  abstract cutPower(): Promise<void>;

  /** The last that kernel and systemd said. */
  abstract console(): string;

  abstract close(): Promise<void>;

  /** Has the kernel say on its console what its processors do, and which tasks wait in it. Does nothing where it cannot be asked. */
  protected async sayWhatWaits(): Promise<void> {}

  /** Asks the system to boot anew. Resolves with the time from the wish to the end of the boot. */
  async reboot(): Promise<number> {
    const began = Date.now();
    const booted = this.booted();
    // It may be gone before it answers.
    this.try('systemctl --no-block reboot').catch(() => {});
    await booted;
    return Date.now() - began;
  }

  /** Runs a script with bash. A status that is not 0 is an answer like any other. */
  async try(script: string, timeout_ms = script_deadline_ms, input?: Buffer): Promise<Ran> {
    const request: Request = {
      id: ++this.#last_id,
      script,
      input: input?.toString('base64') ?? '',
      timeout_ms,
    };
    const answer = this.#answer(request.id, timeout_ms + answer_grace_ms);
    this.#channel!.write(`${JSON.stringify(request)}\n`);
    const { code, output } = await answer.catch((error) => {
      throw new Error(`${(error as Error).message} to: ${script.slice(0, 200)}`);
    });
    return { code, output };
  }

  /** Runs a script and returns what it wrote. Throws when its status is not 0. */
  async run(script: string, timeout_ms?: number, input?: Buffer): Promise<string> {
    const { code, output } = await this.try(`set -e\n${script}`, timeout_ms, input);
    if (code === 0) return output;
    throw new Error(`status ${code} of: ${script.slice(0, 200)}\n${output.slice(-1000)}`);
  }

  /** Scripts go over this from now on. A socket that fails is the machine's end, of which `gone` tells. */
  protected attach(channel: Socket): void {
    this.#channel = channel;
    createInterface({ input: channel })
      .on('line', (line) => this.#take(JSON.parse(line)))
      .on('error', () => {});
  }

  protected detach(): void {
    this.#channel?.destroy();
  }

  protected booted(): Promise<Answer> {
    return this.#answer(0, this.boot_deadline_ms);
  }

  #answer(id: number, deadline_ms: number): Promise<Answer> {
    const late = new AbortController();
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    const silence = sleep(deadline_ms, undefined, { signal: late.signal }).then(async () => {
      await this.sayWhatWaits();
      throw new Error(`no answer within ${deadline_ms / 1000} s; the console: ${this.console()}`);
    });
    silence.catch(() => {});
    return Promise.race([answer, silence, this.gone]).finally(() => {
      late.abort();
      this.#waiting.delete(id);
    });
  }

  /** An answer that nobody waits for belongs to a life that is over. */
  #take(answer: Answer): void {
    this.#waiting.get(answer.id)?.(answer);
  }
}
