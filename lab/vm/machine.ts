/**
 * A virtual machine: QEMU, with a channel for scripts that needs no network of it, and nothing of the network of who runs it.
 *
 * Its uplinks are cards of its own, and the other end of each wire is one more card of the same machine, see gateway.ts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { cached, tool } from './cache.js';
import type { Answer, Request } from './channel.js';
import { buildImage, type Image } from './image.js';
import { makePayload } from './payload.js';
import { channel_name } from './recipe.js';

export interface MachineOptions {
  readonly image: Image;
  /** The second disk. */
  readonly payload: string;
  /** The disk's upper layer of a machine that was saved as `booted`, to begin with. */
  readonly booted?: string;
  /** For sockets, the console's log and the disk's upper layer. Its path is short: a socket's has at most 107 bytes. */
  readonly directory: string;
}

export interface Ran {
  readonly code: number | null;
  readonly output: string;
}

const snapshot = 'booted';
const memory_mib = 3072;
const boot_deadline_ms = 300_000;
const script_deadline_ms = 60_000;
/** Beyond that of a script, for the machine to say that it ended it. */
const answer_grace_ms = 20_000;

/** Wires: an uplink, and the card that becomes its other end. The name follows from the slot on the bus: 0x10 is enp0s16. */
export const wires = [
  { uplink: 'enp0s16', other_end: 'enp0s17' },
  { uplink: 'enp0s18', other_end: 'enp0s19' },
] as const;

/**
 * Starts a machine that has booted, and has been saved. The boot is kept from one run to the next. `vpp`: path of its
 * executable; `directory`: an empty one, for the machine's sockets.
 */
export async function startBooted(
  vpp: string,
  directory: string,
  say: (text: string) => void,
): Promise<Machine> {
  const image = await buildImage(say);
  const payload = await makePayload(vpp);
  const parts = [image.disk, payload, ...qemuArguments({ image, payload, directory: '' })];
  const kept = await cached('booted', parts, async (directory) => {
    say('it boots, once');
    mkdirSync(directory);
    const machine = await Machine.start({ image, payload, directory });
    await machine.save();
    await machine.close();
  });
  return Machine.start({ image, payload, directory, booted: layerOf(kept) });
}

/** QEMU is not there: says what to install. */
export function whyNoMachine(): string | undefined {
  for (const [name, package_name] of [
    ['qemu-system-x86_64', 'qemu-system-x86'],
    ['qemu-img', 'qemu-utils'],
    ['mmdebstrap', 'mmdebstrap'],
    ['mke2fs', 'e2fsprogs'],
    ['strip', 'binutils'],
  ] as const) {
    const directories = (process.env.PATH ?? '').split(':');
    if (!directories.some((directory) => existsSync(join(directory, name))))
      return `needs ${name}: apt-get install ${package_name}`;
  }
  return process.getuid?.() === 0
    ? undefined
    : 'needs root: mmdebstrap makes a file system with owners and devices';
}

export class Machine {
  readonly #directory: string;
  readonly #qemu: ChildProcess;
  readonly #gone: Promise<never>;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #channel!: Socket;
  #monitor!: Monitor;
  #last_id = 0;

  private constructor(directory: string, qemu: ChildProcess) {
    this.#directory = directory;
    this.#qemu = qemu;
    this.#gone = once(qemu, 'exit').then(([code, signal]) => {
      throw new Error(`QEMU ended with ${signal ?? `status ${code}`}: ${this.console()}`);
    });
    this.#gone.catch(() => {});
  }

  /** Starts it and waits until it has booted. */
  static async start(options: MachineOptions): Promise<Machine> {
    const { image, directory, booted } = options;
    const layer = layerOf(directory);
    if (booted !== undefined) tool('cp', booted, layer);
    else tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', image.disk, '-F', 'raw', layer);
    // It ends with this process, however that ends.
    const start = ['--pdeathsig', 'KILL', 'nice', '-n', '5', 'qemu-system-x86_64'];
    const qemu = spawn('setpriv', [...start, ...qemuArguments(options)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const machine = new Machine(directory, qemu);
    try {
      machine.#channel = await machine.#connect('channel.sock');
      createInterface({ input: machine.#channel }).on('line', (line) => machine.#take(JSON.parse(line)));
      machine.#monitor = new Monitor(await machine.#connect('monitor.sock'));
      await machine.#monitor.run('qmp_capabilities');
      if (booted === undefined) await machine.#booted();
    } catch (error) {
      await machine.close();
      throw error;
    }
    return machine;
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
    this.#channel.write(`${JSON.stringify(request)}\n`);
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

  /** Power off and on: what was not on the disk is lost. Resolves when it has booted again. */
  async cutPower(): Promise<void> {
    await this.#monitor.run('system_reset');
    await this.#booted();
  }

  /** Asks the system to boot anew. Resolves with the time from the wish to the end of the boot. */
  async reboot(): Promise<number> {
    const began = Date.now();
    const booted = this.#booted();
    await this.run('systemctl --no-block reboot');
    await booted;
    return Date.now() - began;
  }

  /** Keeps memory, processor and disk as they are. */
  async save(): Promise<void> {
    await this.#monitor.human(`savevm ${snapshot}`);
  }

  /** All is as it was when it was saved. */
  async load(): Promise<void> {
    await this.#monitor.human(`loadvm ${snapshot}`);
  }

  /** The last that kernel and systemd said. */
  console(bytes = 2000): string {
    const path = join(this.#directory, 'console.log');
    return existsSync(path) ? readFileSync(path, 'latin1').slice(-bytes) : '';
  }

  async close(): Promise<void> {
    if (this.#qemu.exitCode === null && this.#qemu.signalCode === null) {
      const exited = once(this.#qemu, 'exit');
      this.#qemu.kill('SIGKILL');
      await exited;
    }
    this.#channel?.destroy();
    this.#monitor?.close();
  }

  #booted(): Promise<Answer> {
    return this.#answer(0, boot_deadline_ms);
  }

  #answer(id: number, deadline_ms: number): Promise<Answer> {
    const late = new AbortController();
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    const silence = sleep(deadline_ms, undefined, { signal: late.signal }).then(() => {
      throw new Error(`no answer within ${deadline_ms / 1000} s; the console: ${this.console()}`);
    });
    silence.catch(() => {});
    return Promise.race([answer, silence, this.#gone]).finally(() => {
      late.abort();
      this.#waiting.delete(id);
    });
  }

  /** An answer that nobody waits for belongs to a life that was left by `load`. */
  #take(answer: Answer): void {
    this.#waiting.get(answer.id)?.(answer);
  }

  async #connect(name: string): Promise<Socket> {
    const path = join(this.#directory, name);
    for (let tries = 0; tries < 200; tries++) {
      if (existsSync(path)) {
        const socket = createConnection(path);
        await Promise.race([once(socket, 'connect'), this.#gone]);
        return socket;
      }
      await Promise.race([sleep(50), this.#gone]);
    }
    throw new Error(`QEMU made no ${name} within 10 s`);
  }
}

/** QEMU's own command channel: one command at a time, each answered with a line. */
class Monitor {
  readonly #socket: Socket;
  #answered: ((line: string) => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    createInterface({ input: socket }).on('line', (line) => {
      const { QMP, event } = JSON.parse(line);
      if (QMP === undefined && event === undefined) this.#answered?.(line);
    });
  }

  async run(execute: string, args?: object): Promise<unknown> {
    const answered = new Promise<string>((resolve) => {
      this.#answered = resolve;
    });
    this.#socket.write(`${JSON.stringify({ execute, ...(args && { arguments: args }) })}\n`);
    const { return: result, error } = JSON.parse(await answered);
    if (error !== undefined) throw new Error(`QEMU refuses ${execute}: ${error.desc}`);
    return result;
  }

  /** Commands of the monitor for people say nothing when they succeed. */
  async human(line: string): Promise<void> {
    const said = await this.run('human-monitor-command', { 'command-line': line });
    if (said !== '') throw new Error(`QEMU refuses ${line}: ${said}`);
  }

  close(): void {
    this.#socket.destroy();
  }
}

const layerOf = (directory: string): string => join(directory, 'layer.qcow2');

function qemuArguments({ image, payload, directory, booted }: MachineOptions): string[] {
  const socket = (name: string): string => `${join(directory, name)},server=on,wait=off`;
  const card = (hub: number, id: string, slot: number): string[] => [
    '-netdev',
    `hubport,hubid=${hub},id=${id}`,
    '-device',
    `virtio-net-pci,netdev=${id},mac=52:54:00:00:00:${slot.toString(16)},addr=0x${slot.toString(16)}`,
  ];
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'q35', '-m', `${memory_mib}`],
    // Emulated vector units are slower than none: without AVX nobody uses them.
    ...['-accel', 'tcg,thread=multi', '-cpu', 'Nehalem,+aes,+pclmulqdq,+rdtscp,+rdrand', '-smp', '2'],
    ...['-kernel', image.kernel, '-initrd', image.initrd],
    ...[
      '-append',
      'console=ttyS0 quiet mitigations=off nokaslr no_timer_check panic=-1 systemd.show_status=0',
    ],
    ...['-drive', `file=${layerOf(directory)},if=virtio,cache=unsafe`],
    ...['-drive', `file=${payload},if=virtio,format=raw,readonly=on`],
    ...['-serial', `file:${join(directory, 'console.log')}`],
    ...['-qmp', `unix:${socket('monitor.sock')}`],
    ...['-device', 'virtio-serial-pci', '-chardev', `socket,id=channel,path=${socket('channel.sock')}`],
    ...['-device', `virtserialport,chardev=channel,name=${channel_name}`],
    ...['-device', 'virtio-rng-pci'],
    ...(booted === undefined ? [] : ['-loadvm', snapshot]),
    ...wires.flatMap((_, index) => [
      ...card(index, `uplink${index}`, 0x10 + 2 * index),
      ...card(index, `other${index}`, 0x11 + 2 * index),
    ]),
  ];
}
