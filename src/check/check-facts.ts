import { accessSync, constants, existsSync } from 'node:fs';
import type { Config } from '../config.js';
import type { RunCommand } from '../host/command.js';
import { type Holder, holdersOf } from '../host/devices/pci-driver.js';
import { type MachineFacts, machineFacts, type PciFacts, pciFacts } from '../host/devices/pci-facts.js';
import {
  HOST_ROOTS,
  type HostDevices,
  type HostRoots,
  type Hugepages,
  hostDevices,
  hugepages,
  type KernelVersion,
  kernelVersion,
  memoryBytes,
  pciDeviceOfLink,
} from '../host/devices/sysfs.js';
import { gatherHostFacts } from '../host/services/hooks.js';
import { type HostFacts, onHost } from '../host/services/network-managers.js';
import { question_ms } from '../host/services/network-service.js';
import { parseJson } from '../json.js';
import type {
  Address,
  Channels,
  Link,
  Neighbour,
  NetworkNamespace,
  NexthopObject,
  Route,
  Rule,
} from '../linux/network.js';
import { findNft } from '../services/host-services.js';
import { type GoFacts, gatherGoFacts } from './check-migration.js';
import { vppFacts } from './startup-facts.js';

export interface CheckFacts {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  readonly nexthops: readonly NexthopObject[];
  readonly neighbours: readonly Neighbour[];
  readonly rules: readonly Rule[];
  /** By name of the uplink; absent where it is on no PCI bus. */
  readonly pci: ReadonlyMap<string, PciFacts>;
  readonly machine: MachineFacts;
  /** By name of the uplink: programs that have its PCI device open, or another one of its IOMMU group. */
  readonly holders: ReadonlyMap<string, readonly Holder[]>;
  /** See `NetworkNamespace.offloads`: by name of the uplink. */
  readonly offloads: ReadonlyMap<string, boolean>;
  readonly channels: ReadonlyMap<string, Channels>;
  /** Uplinks with a place for filters of `tc` beside their root (`clsact`, `ingress`), as far as a `tc` can be asked. */
  readonly filtered: ReadonlySet<string>;
  readonly devices: HostDevices;
  readonly hugepages: readonly Hugepages[];
  readonly kernel: KernelVersion | undefined;
  readonly memory_available_bytes: number;
  readonly is_root: boolean;
  readonly vpp_binary: BinaryState;
  /** The BGP speaker. */
  readonly gobgpd: BinaryState;
  /** `nft` of this process, or of the host. */
  readonly has_nft: boolean;
  readonly host: HostFacts;
  /** What is there of the Go implementation. */
  readonly go: GoFacts;
}

type BinaryState = 'ok' | 'missing' | 'not executable';

function binaryState(path: string): BinaryState {
  if (!existsSync(path)) return 'missing';
  try {
    accessSync(path, constants.X_OK);
    return 'ok';
  } catch {
    return 'not executable';
  }
}

const filter_kinds: readonly unknown[] = ['clsact', 'ingress'];

/** Of what `tc -j qdisc show` says of one device. What cannot be read has none. */
export function hasFilters(tc: string): boolean {
  try {
    const qdiscs = parseJson(tc);
    return (
      Array.isArray(qdiscs) &&
      qdiscs.some((qdisc) => filter_kinds.includes((qdisc as { kind?: unknown } | null)?.kind))
    );
  } catch {
    return false;
  }
}

/** Reads what the check needs and changes nothing. `openNetwork` opens the namespace that has the uplinks. */
export async function gatherCheckFacts(
  config: Config,
  tools: {
    readonly host_root: string | undefined;
    readonly openNetwork: () => NetworkNamespace;
    readonly run: RunCommand;
  },
  roots: HostRoots = HOST_ROOTS,
): Promise<CheckFacts> {
  const names = config.uplinks.map(({ interface_name }) => interface_name);
  const host = await gatherHostFacts(tools, names);
  const asked = await Promise.all(
    names.map((name) => {
      const argv = onHost(tools.host_root ?? '', 'tc', '-j', 'qdisc', 'show', 'dev', name);
      return tools.run(argv, { timeout_ms: question_ms });
    }),
  );
  const held = await Promise.all(
    names.map(async (name) => {
      const address = pciDeviceOfLink(name, roots)?.address;
      return { name, holders: address === undefined ? [] : await holdersOf(address, roots) };
    }),
  );
  const network = tools.openNetwork();
  try {
    const present = names.filter((name) => network.link(name));
    return {
      links: network.links(),
      addresses: network.addresses(),
      routes: network.routes(),
      nexthops: network.nexthops(),
      neighbours: network.neighbours(),
      rules: network.rules(),
      pci: new Map(
        present.flatMap((name) => {
          const address = pciDeviceOfLink(name, roots)?.address;
          const pci = address === undefined ? undefined : pciFacts(address, roots);
          return pci === undefined ? [] : [[name, pci] as const];
        }),
      ),
      holders: new Map(held.map(({ name, holders }) => [name, holders])),
      machine: { ...machineFacts(roots), ...vppFacts(config, roots) },
      offloads: new Map(present.map((name) => [name, network.offloads(name)])),
      channels: new Map(
        present.flatMap((name) => {
          const channels = network.channels(name);
          return channels ? [[name, channels] as const] : [];
        }),
      ),
      filtered: new Set(names.filter((_, at) => hasFilters(asked[at]!.stdout))),
      devices: hostDevices(roots),
      hugepages: hugepages(roots),
      kernel: kernelVersion(roots),
      memory_available_bytes: memoryBytes('MemAvailable', roots),
      is_root: process.geteuid?.() === 0,
      vpp_binary: binaryState(config.vpp.binary),
      gobgpd: binaryState(config.bgp.binary),
      has_nft: (await findNft(tools)) !== undefined,
      host,
      go: gatherGoFacts(config, roots),
    };
  } finally {
    network.close();
  }
}
