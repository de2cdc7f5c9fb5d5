/** A host with an uplink, in memory, for the tests of its take-over. */
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import type { FakePci } from '../../lab/fake-pci.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { Clock } from '../../src/clock.js';
import { interface_spec_default } from '../../src/config/interface-spec.js';
import type { UplinkSpec } from '../../src/config.js';
import type { RunCommand } from '../../src/host/command.js';
import type { MachineFacts } from '../../src/host/devices/pci-facts.js';
import { type JournalFiles, openJournal, type UndoJournal } from '../../src/host/undo/undo-journal.js';
import type { UndoTools } from '../../src/host/undo/undo-session.js';
import type { NetworkChange, Route } from '../../src/linux/network.js';
import { CapturedStore } from '../../src/uplink/captured.js';
import { UplinkHost } from '../../src/uplink/uplink-host.js';

export const vpp_netns = '/var/run/netns/calico-vpp-ns';
const boot = '11111111-1111-1111-1111-111111111111';
export const macs = ['02:00:00:00:00:01', '02:00:00:00:00:02'];

export function specOf(changes: Partial<UplinkSpec> = {}): UplinkSpec {
  return {
    rx_queues: interface_spec_default.rx_queues,
    tx_queues: interface_spec_default.tx_queues,
    rx_ring_size: 1024,
    tx_ring_size: 1024,
    interface_name: 'eth0',
    index: 0,
    driver: 'af_packet',
    is_main: true,
    physical_network: '',
    families: [],
    af_packet_v3: false,
    af_packet_qdisc_bypass: false,
    ...changes,
  };
}

/** A machine on which any driver could work. */
export function machineOf(changes: Partial<MachineFacts> = {}): MachineFacts {
  return {
    user_space_drivers: ['vfio-pci', 'uio_pci_generic'],
    has_vfio_files: true,
    can_write_sys: true,
    hugepage_bytes: 2 ** 30,
    leans_on_network: [],
    net_consoles: [],
    cpu_lacks: [],
    has_verbs: true,
    ...changes,
  };
}

export const second_spec = specOf({ interface_name: 'eth1', index: 1, is_main: false });

/** The files of the undo journal, in memory; `full`: the disk takes nothing more. */
export class MemoryFiles implements JournalFiles {
  readonly contents = new Map<string, string>();
  full = false;

  read(path: string): string | undefined {
    return this.contents.get(path);
  }
  replace(path: string, text: string): void {
    this.#write(path, text);
  }
  append(path: string, text: string): void {
    this.#write(path, `${this.contents.get(path) ?? ''}${text}`);
  }
  truncate(path: string, length_bytes: number): void {
    this.contents.set(path, (this.contents.get(path) ?? '').slice(0, length_bytes));
  }
  copy(path: string, to: string): void {
    this.#write(to, this.contents.get(path) ?? '');
  }
  remove(path: string): void {
    this.contents.delete(path);
  }

  #write(path: string, text: string): void {
    if (this.full) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    this.contents.set(path, text);
  }
}

function route(oif: number, prefix: string, gateway: string, changes: Partial<Route> = {}): NetworkChange {
  const family = prefix.includes(':') ? 6 : 4;
  return { do: 'add_route', route: { family, prefix, next_hops: [{ oif, gateway }], ...changes } };
}

/** An uplink with addresses and routes of both families and gateways that answer. */
function furnish(network: FakeHostNetwork, name: string, net: number, kind: 'physical' | 'veth'): void {
  const own = network.open();
  const mac = macs[net]!;
  const channels = { rx: 0, tx: 0, combined: 1, max_rx: 0, max_tx: 0, max_combined: 4 };
  const link =
    kind === 'physical'
      ? network.addPhysical({ name, mac, channels })
      : network.addVirtual({ name, mac, kind: 'veth' });
  const changes: NetworkChange[] = [
    { do: 'set_link', link, up: true, mtu: 9000 },
    { do: 'add_address', address: { link, family: 4, prefix: `10.${net}.0.2/24` } },
    { do: 'add_address', address: { link, family: 4, prefix: `10.${net}.0.100/32` } },
    { do: 'add_address', address: { link, family: 6, prefix: `fd0${net}::2/64`, flags: 2 } },
    route(link, '0.0.0.0/0', `10.${net}.0.1`, { metric: 100 + net, protocol: 16 }),
    route(link, `10.5${net}.0.0/16`, `10.${net}.0.7`, { prefsrc: `10.${net}.0.100` }),
    route(link, `10.6${net}.0.0/16`, `10.${net}.0.9`, { table: 100 }),
    route(link, '::/0', `fd0${net}::1`, { metric: 100 + net }),
    {
      do: 'set_neighbour',
      neighbour: { link, family: 4, address: `10.${net}.0.1`, mac: '02:00:00:00:00:91', state: 2 },
    },
    {
      do: 'set_neighbour',
      neighbour: { link, family: 4, address: `10.${net}.0.7`, mac: '02:00:00:00:00:97', state: 0x20 },
    },
    {
      do: 'set_neighbour',
      neighbour: { link, family: 6, address: `fd0${net}::1`, mac: '02:00:00:00:00:91', state: 4 },
    },
    {
      do: 'set_neighbour',
      neighbour: { link, family: 4, address: `10.${net}.0.50`, mac: '02:00:00:00:00:95' },
    },
  ];
  // A link of kind veth without its other end has no carrier, and keeps no address of its own making.
  for (const change of changes) own.apply(change);
}

export class UplinkLab {
  readonly network: FakeHostNetwork;
  readonly files = new MemoryFiles();
  /** Of another disk than the journal's. */
  readonly captured_files = new MemoryFiles();
  readonly captured: CapturedStore;
  /** What commands of the host answer. */
  run: RunCommand = async () => ({ code: 0, stdout: '', stderr: '' });
  /** No device of the machine that the tests run on. */
  #pci: Pick<UndoTools, 'roots' | 'write'> = {
    roots: { sys: '/nowhere', proc: '/nowhere', dev: '/nowhere' },
  };
  /** Of VPP and its start-up file. */
  #vpp_facts: Partial<MachineFacts> = {};
  journal: UndoJournal;
  host: UplinkHost;

  constructor(
    readonly clock: Clock = new TurnedClock(),
    kind: 'physical' | 'veth' = 'physical',
    two = false,
    pci?: FakePci,
  ) {
    this.network = pci?.network ?? new FakeHostNetwork();
    if (pci !== undefined) this.#pci = { roots: pci.roots, write: pci.write };
    furnish(this.network, 'eth0', 0, kind);
    if (two) furnish(this.network, 'eth1', 1, kind);
    this.network.addNamespace(vpp_netns);
    this.network.mutations.length = 0;
    this.captured = new CapturedStore('/state/uplinks.json', boot, this.captured_files);
    this.journal = this.#openJournal();
    this.host = this.#open();
  }

  /** How the kernel takes what is written to sysfs, by fresh processes as well. */
  writes(write: NonNullable<UndoTools['write']>): void {
    this.#pci = { ...this.#pci, write };
    this.host = this.#open();
  }

  /** What VPP and its start-up file have. */
  has(vpp_facts: Partial<MachineFacts>): void {
    this.#vpp_facts = vpp_facts;
    this.host = this.#open();
  }

  /** As a fresh process has it: all that is known is on the disk. */
  restarted(): UplinkHost {
    this.journal = this.#openJournal();
    this.host = this.#open();
    return this.host;
  }

  #openJournal(): UndoJournal {
    return openJournal('/state/undo.journal', boot, 0, this.files).journal;
  }

  #open(): UplinkHost {
    const run: RunCommand = (argv, options) => this.run(argv, options);
    const { network, clock } = this;
    const tools = { host: network, clock, run, ...this.#pci };
    const of_vpp = [false, true, this.#vpp_facts] as const;
    return new UplinkHost(network, this.journal, this.captured, tools, vpp_netns, ...of_vpp);
  }

  /**
   * The host as two states of it can be compared. Permanent neighbours come back; what the kernel has learned it learns
   * again. Sysctls of a device live and die with it.
   */
  state(): object {
    const { neighbours, sysctls, ...rest } = this.network.snapshot() as Record<
      'neighbours' | 'sysctls',
      string[]
    >;
    return {
      ...rest,
      neighbours: neighbours.filter((text) => text.includes('"state":128')),
      sysctls: sysctls.filter((text) => !text.includes('/conf/eth')),
    };
  }

  /** VPP makes its tap. */
  makeTap(name = 'eth0', mac = macs[0]!): void {
    this.network.addVirtual({ name, mac, kind: 'tun' });
  }

  removeTap(name = 'eth0'): void {
    const own = this.network.open();
    const tap = own.link(name);
    if (tap?.kind === 'tun') own.apply({ do: 'delete_link', link: tap.index });
  }
}
