/**
 * The Linux side of the uplinks: reads them, gives them to VPP, dresses the tap that takes their place, and undoes it all.
 * Every change has its undo in the journal, on the disk, before it is made.
 */
import { readlinkSync } from 'node:fs';
import type { UplinkSpec } from '../config.js';
import { type ClusterPrefixes, hostTapChanges } from '../desired/host-tap.js';
import { isLinkLocal } from '../desired/ip.js';
import type { Uplink } from '../desired/uplink.js';
import { captureLink, restoreSteps } from '../host/capture.js';
import type { HostNetwork, NetlinkError, NetworkNamespace } from '../host/types.js';
import { type UndoReport, type UndoTools, undo } from '../host/undo.js';
import { JournalError, type UndoJournal } from '../host/undo-journal.js';
import { identityOf, type UndoStep } from '../host/undo-step.js';
import type { CapturedStore, CapturedUplink } from './captured.js';
import type { DeviceChange, UplinkDriver } from './driver.js';
import { driverFor } from './drivers.js';

/** The uplink cannot be taken over as it is. Nothing was changed, or what was changed has been undone. */
export class UplinkError extends Error {
  override readonly name = 'UplinkError';
}

const main_table = 254;
/** NUD_REACHABLE, STALE, DELAY, PROBE, PERMANENT: the neighbour has answered. */
const neighbour_answered = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

export class UplinkHost {
  constructor(
    private readonly host: HostNetwork,
    private readonly journal: UndoJournal,
    private readonly captured: CapturedStore,
    private readonly tools: UndoTools,
    /** Path of the network namespace that VPP lives in. */
    private readonly vpp_netns: string,
  ) {}

  /** Something of the host is changed and not undone. */
  isChanged(): boolean {
    return this.journal.pending().length > 0;
  }

  /** The uplinks of a take-over that is in force. */
  taken(): readonly CapturedUplink[] | undefined {
    return this.captured.load();
  }

  capture(specs: readonly UplinkSpec[]): CapturedUplink[] {
    return this.inHost((namespace) => specs.map((spec) => captureUplink(namespace, spec)));
  }

  /** Gives the devices to VPP. Throws UplinkError, or what Linux answered; the caller then restores. */
  take(uplinks: readonly CapturedUplink[]): void {
    this.captured.save(uplinks);
    for (const uplink of uplinks) this.inHost((namespace) => this.takeOne(namespace, uplink));
  }

  /** Makes each tap what its uplink was; answers what Linux refused. Can be repeated. */
  dressTaps(uplinks: readonly Uplink[], cluster: ClusterPrefixes): NetlinkError[] {
    return this.inHost((namespace) =>
      uplinks.flatMap((uplink) => {
        const tap = namespace.link(uplink.name);
        if (tap === undefined || tap.kind !== 'tun') {
          throw new UplinkError(`uplink ${uplink.name}: VPP made no tap of that name in the host`);
        }
        if (uplink.addresses.some((address) => address.family === 6)) {
          namespace.writeSysctl(`net/ipv6/conf/${uplink.name}/disable_ipv6`, '0');
        }
        // Up it gets the link-local address that is to go, if the uplink had another.
        namespace.apply({ do: 'set_link', link: tap.index, up: true });
        const link_locals = namespace
          .addresses(tap.index)
          .filter((address) => address.family === 6 && isLinkLocal(address.prefix))
          .map((address) => address.prefix);
        return namespace
          .batch(hostTapChanges(uplink, tap.index, link_locals, cluster))
          .filter((error) => error !== undefined);
      }),
    );
  }

  /** The MTU that Linux lost to a DHCP client or a network manager comes back. True if one had to be mended. */
  mendMtu(uplink: Uplink): boolean {
    return this.inHost((namespace) => {
      const tap = namespace.link(uplink.name);
      if (tap === undefined || tap.kind !== 'tun' || tap.mtu === uplink.mtu) return false;
      namespace.apply({ do: 'set_link', link: tap.index, mtu: uplink.mtu });
      return true;
    });
  }

  /** Linux as it was. Can be repeated; what fails stays in the journal for the next attempt. */
  async restore(): Promise<UndoReport> {
    const report = await undo(this.journal.pending(), this.tools);
    try {
      this.journal.replace(report.remaining);
      if (report.remaining.length === 0) this.captured.clear();
    } catch (error) {
      // On a full disk all steps stay pending; to take them again is harmless.
      if (!(error instanceof JournalError)) throw error;
    }
    return report;
  }

  private inHost<T>(run: (namespace: NetworkNamespace) => T): T {
    const namespace = this.host.open();
    try {
      return run(namespace);
    } finally {
      namespace.close();
    }
  }

  private takeOne(namespace: NetworkNamespace, uplink: CapturedUplink): void {
    const { spec } = uplink;
    const driver = driverFor(spec);
    const state = captureLink(namespace, spec.interface_name);
    if (state === undefined)
      throw new UplinkError(`uplink ${spec.interface_name} vanished before it was taken over`);
    const { link } = state;
    const changes = driver.prepare({ ...uplink, gso: false });
    this.journal.record([
      ...restoreSteps(state),
      ...changes.flatMap((change) => undoOf(change, uplink)),
      { kind: 'link_to_netns', link: identityOf(link), from: this.vpp_netns },
      // The host tap, which has the name of the uplink.
      ...(link.kind === 'tun'
        ? []
        : [{ kind: 'delete_link', name: spec.interface_name, link_kind: 'tun' } as const]),
    ]);
    for (const change of changes) makeChange(namespace, uplink, change);
    if (driver.moves) this.move(namespace, link.index, spec.interface_name);
  }

  private move(namespace: NetworkNamespace, link: number, name: string): void {
    namespace.apply({ do: 'move_link', link, netns: this.vpp_netns });
    const inside = this.host.open(this.vpp_netns);
    try {
      const moved = inside.link(name);
      if (moved === undefined)
        throw new UplinkError(`uplink ${name} did not arrive in VPP's network namespace`);
      inside.apply({ do: 'set_link', link: moved.index, up: true, promisc: true });
    } finally {
      inside.close();
    }
  }
}

function captureUplink(namespace: NetworkNamespace, spec: UplinkSpec): CapturedUplink {
  const name = spec.interface_name;
  const state = captureLink(namespace, name);
  if (state === undefined) {
    const known = namespace.links().map((link) => link.name);
    throw new UplinkError(
      `uplink ${name}: Linux has no such interface (it has ${known.join(', ')}); correct interfaceName`,
    );
  }
  const { link, addresses, channels } = state;
  const global = addresses.filter((address) => !isLinkLocal(address.prefix));
  const missing = spec.families.filter((family) => !global.some((address) => address.family === family));
  if (global.length === 0 || missing.length > 0) {
    const what = missing.length > 0 ? missing.map((family) => `IPv${family}`).join(' and ') : 'IP';
    throw new UplinkError(`uplink ${name} has no ${what} address yet; it is taken over once it has one`);
  }
  const routes = state.routes.filter((route) => route.table === main_table);
  const answering = new Set(
    namespace
      .neighbours(link.index)
      .filter((neighbour) => neighbour.mac !== undefined && (neighbour.state & neighbour_answered) !== 0)
      .map((neighbour) => neighbour.address),
  );
  const gateways = routes.flatMap((route) => route.next_hops.flatMap((hop) => hop.gateway ?? []));
  return {
    spec,
    link,
    addresses,
    routes,
    answering_gateways: [...new Set(gateways)].filter((gateway) => answering.has(gateway)),
    ...(channels && { channels }),
  };
}

function makeChange(namespace: NetworkNamespace, { link, spec }: CapturedUplink, change: DeviceChange): void {
  switch (change.do) {
    case 'promisc':
      return namespace.apply({ do: 'set_link', link: link.index, promisc: true });
    case 'mtu':
      return namespace.apply({ do: 'set_link', link: link.index, mtu: change.mtu });
    case 'channels':
      return namespace.setChannels(spec.interface_name, { combined: change.combined });
    case 'xdp':
      return;
  }
}

/** Beside what `restoreSteps` restores anyway. */
function undoOf(change: DeviceChange, { link, channels }: CapturedUplink): UndoStep[] {
  if (change.do === 'xdp') return [{ kind: 'set_link', link: identityOf(link), xdp: false }];
  if (change.do !== 'channels' || channels === undefined) return [];
  const { rx, tx, combined } = channels;
  return [{ kind: 'ethtool_channels', link: identityOf(link), channels: { rx, tx, combined } }];
}

/** The uplink as `desired` wants it. */
export function uplinkOf(captured: CapturedUplink, gso: boolean, tag: string): Uplink {
  const { spec, link } = captured;
  const driver: UplinkDriver = driverFor(spec);
  const facts = { ...captured, gso };
  return {
    name: spec.interface_name,
    index: spec.index,
    is_main: spec.is_main,
    mac: link.mac ?? '00:00:00:00:00:00',
    mtu: driver.mtu(facts),
    addresses: captured.addresses,
    routes: captured.routes,
    link: link.index,
    physical_network: spec.physical_network,
    rx_mode: spec.rx_mode ?? driver.default_rx_mode,
    device: driver.device(facts, tag),
  };
}

/**
 * How VPP reaches the host's network namespace, which is that of this process: by init, where it has the same one, since
 * that path means the same in the next life of this process.
 */
export function hostNamespacePath(): string {
  const inode = (pid: string): string | undefined => {
    try {
      return readlinkSync(`/proc/${pid}/ns/net`);
    } catch {
      return undefined;
    }
  };
  return inode('1') === inode('self') ? 'pid:1' : `/proc/${process.pid}/ns/net`;
}
