/**
 * A virtual machine: QEMU, with a channel for scripts that needs no network of it, and nothing of the network of who runs it.
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
import { buildImage, type Image } from './image.js';
import { type Hardware, Machine, macOf, pci_wires, wires } from './machine.js';
import { inside, makePayload, type Payload } from './payload.js';
import { channel_name } from './recipe.js';

export interface VirtualMachineOptions {
  readonly image: Image;
  /** The second disk. */
  readonly payload: Payload;
  readonly hardware: Hardware;
  /** The disk's upper layer of a machine that was saved as `booted`, to begin with. */
  readonly booted?: string;
  /** For sockets, the console's log and the disk's upper layer. Its path is short: a socket's has at most 107 bytes. */
  readonly directory: string;
}

const snapshot = 'booted';
/** An eighth of it has to hold the packet buffers of 110 pods. */
const memory_mib = 6144;
const console_bytes = 12_000;
/** For the kernel to write it: its serial port is slow. */
const said_ms = 2000;
/** Of 2 MiB, where the hardware is not `plain`. */
const huge_pages = 256;

/**
 * Starts a machine that has booted, and has been saved. The boot is kept from one run to the next. `vpp`: path of its
 * executable; `directory`: an empty one, for the machine's sockets.
 */
export async function startBooted(
  vpp: string,
  directory: string,
  say: (text: string) => void,
  hardware: Hardware = 'plain',
): Promise<VirtualMachine> {
  const image = await buildImage(say);
  const payload = await makePayload(vpp);
  const parts = [image.disk, payload.disk, ...qemuArguments({ image, payload, hardware, directory: '' })];
  const kept = await cached('booted', parts, async (directory) => {
    say('it boots, once');
    mkdirSync(directory);
    const machine = await VirtualMachine.start({ image, payload, hardware, directory });
    await machine.save();
    await machine.close();
  });
  return VirtualMachine.start({ image, payload, hardware, directory, booted: layerOf(kept) });
}

/** What a virtual machine needs beside what the image does. */
export const emulator_tools: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
};

export class VirtualMachine extends Machine {
  readonly vpp_environment = { LD_LIBRARY_PATH: inside.vpp_libraries };
  protected readonly gone: Promise<never>;
  protected readonly boot_deadline_ms = 900_000;
  readonly silence_ms_max = 30_000;
  readonly #directory: string;
  readonly #qemu: ChildProcess;
  #monitor!: Monitor;

  private constructor(directory: string, qemu: ChildProcess) {
    super();
    this.#directory = directory;
    this.#qemu = qemu;
    this.gone = once(qemu, 'exit').then(([code, signal]) => {
      throw new Error(`QEMU ended with ${signal ?? `status ${code}`}: ${this.console()}`);
    });
    this.gone.catch(() => {});
  }

  /** Starts it and waits until it has booted. */
  static async start(options: VirtualMachineOptions): Promise<VirtualMachine> {
    const { image, directory, booted } = options;
    const layer = layerOf(directory);
    if (booted !== undefined) tool('cp', booted, layer);
    else tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', image.disk, '-F', 'raw', layer);
    // It ends with this process, however that ends.
    const start = ['--pdeathsig', 'KILL', 'nice', '-n', '5', 'qemu-system-x86_64'];
    const qemu = spawn('setpriv', [...start, ...qemuArguments(options)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const machine = new VirtualMachine(directory, qemu);
    try {
      machine.attach(await machine.#connect('channel.sock'));
      machine.#monitor = new Monitor(await machine.#connect('monitor.sock'));
      await machine.#monitor.run('qmp_capabilities');
      if (booted === undefined) await machine.booted();
    } catch (error) {
      await machine.close();
      throw error;
    }
    return machine;
  }

  async cutPower(): Promise<void> {
    await this.#monitor.run('system_reset');
    await this.booted();
  }

  /** Keeps memory, processor and disk as they are, for `fresh`. */
  async save(): Promise<void> {
    await this.#monitor.human(`savevm ${snapshot}`);
  }

  async fresh(): Promise<void> {
    await this.#monitor.human(`loadvm ${snapshot}`);
  }

  /** By the keyboard, which needs none of its programs: all that the kernel says is shown, then blocked tasks and each processor. */
  protected override async sayWhatWaits(): Promise<void> {
    for (const key of ['9', 'w', 'l']) {
      await this.#monitor.human(`sendkey alt-sysrq-${key}`).catch(() => {});
      await sleep(said_ms);
    }
  }

  console(): string {
    const path = join(this.#directory, 'console.log');
    return existsSync(path) ? readFileSync(path, 'latin1').slice(-console_bytes) : '';
  }

  async close(): Promise<void> {
    this.detach();
    this.#monitor?.close();
    if (this.#qemu.exitCode !== null || this.#qemu.signalCode !== null) return;
    const exited = once(this.#qemu, 'exit');
    this.#qemu.kill('SIGKILL');
    await exited;
  }

  async #connect(name: string): Promise<Socket> {
    const path = join(this.#directory, name);
    for (let tries = 0; tries < 200; tries++) {
      if (existsSync(path)) {
        const socket = createConnection(path);
        await Promise.race([once(socket, 'connect'), this.gone]);
        return socket;
      }
      await Promise.race([sleep(50), this.gone]);
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
    createInterface({ input: socket })
      .on('line', (line) => {
        const { QMP, event } = JSON.parse(line);
        if (QMP === undefined && event === undefined) this.#answered?.(line);
      })
      .on('error', () => {});
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

/** Whether this QEMU has a device. */
export function hasDevice(name: string): boolean {
  return tool('qemu-system-x86_64', '-device', 'help').includes(`name "${name}"`);
}

function qemuArguments({ image, payload, hardware, directory, booted }: VirtualMachineOptions): string[] {
  const socket = (name: string): string => `${join(directory, name)},server=on,wait=off`;
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'q35', '-m', `${memory_mib}`],
    // Emulated vector units are slower than none: without AVX nobody uses them.
    ...['-accel', 'tcg,thread=multi', '-cpu', 'Nehalem,+aes,+pclmulqdq,+rdtscp,+rdrand', '-smp', '2'],
    ...['-kernel', image.kernel, '-initrd', image.initrd],
    ...['-append', [command_line, ...hardware_of[hardware].command_line].join(' ')],
    ...['-drive', `file=${layerOf(directory)},if=virtio,cache=unsafe`],
    ...['-drive', `file=${payload.disk},if=virtio,format=raw,readonly=on`],
    ...['-serial', `file:${join(directory, 'console.log')}`],
    ...['-qmp', `unix:${socket('monitor.sock')}`],
    ...['-device', 'virtio-serial-pci', '-chardev', `socket,id=channel,path=${socket('channel.sock')}`],
    ...['-device', `virtserialport,chardev=channel,name=${channel_name}`],
    ...['-device', 'virtio-rng-pci'],
    ...(booted === undefined ? [] : ['-loadvm', snapshot]),
    ...hardware_of[hardware].devices(),
  ];
}

const command_line =
  'console=ttyS0 quiet mitigations=off nokaslr no_timer_check tsc=reliable panic=-1 systemd.show_status=0 sysrq_always_enabled systemd.default_timeout_start_sec=900';

const hardware_of: Readonly<
  Record<Hardware, { readonly command_line: readonly string[]; devices(): string[] }>
> = {
  plain: {
    command_line: [],
    devices: () =>
      wires.flatMap(({ uplink, other_end }, hub) => wire(hub, uplink, 'virtio-net-pci', other_end)),
  },
  pci: {
    // The kernel's own drivers go past the IOMMU: through an emulated one they are slower still.
    command_line: ['intel_iommu=on', 'iommu=pt', `hugepages=${huge_pages}`],
    devices: () => [
      // Before the cards behind it.
      ...['-device', 'intel-iommu,intremap=on'],
      ...cardsForPrograms(),
    ],
  },
  unsafe: { command_line: [`hugepages=${huge_pages}`], devices: cardsForPrograms },
};

function cardsForPrograms(): string[] {
  return Object.entries(pci_wires)
    .filter(([name]) => name !== 'igb' || hasDevice(name))
    .flatMap(([name, { uplink, other_end }], hub) =>
      wire(hub, uplink, pci_models[name as keyof typeof pci_wires], other_end),
    );
}

const pci_models: Readonly<Record<keyof typeof pci_wires, string>> = {
  // One that insists on the IOMMU (iommu_platform=on) is none for VPP, which does not take that feature.
  virtio: 'virtio-net-pci,disable-legacy=on',
  vmxnet3: 'vmxnet3',
  igb: 'igb',
  e1000e: 'e1000e',
};

/** A hub of QEMU with a card of this model, and an ordinary one as its other end. */
function wire(hub: number, uplink: string, model: string, other_end: string): string[] {
  // The kernel names it by its slot.
  const card = (name: string, model: string): string[] => [
    '-netdev',
    `hubport,hubid=${hub},id=${name}`,
    '-device',
    `${model},netdev=${name},mac=${macOf(name)},addr=0x${macOf(name).slice(-2)}`,
  ];
  return [...card(uplink, model), ...card(other_end, 'virtio-net-pci')];
}
