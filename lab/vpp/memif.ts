/** memif sockets and interfaces as VPP keeps them, and clients of its plugin `pbl`. No program ever connects. */
import type { pbl_port_range } from 'vpp-binapi-ts/pbl';
import type { FibTable } from './fib.js';
import { source } from './fib-sources.js';
import type { Interface, Interfaces } from './interfaces.js';
import { Death, refuse, retval } from './outcome.js';
import { Pool } from './pool.js';
import { familyOf, hostPrefix } from './prefix.js';

export interface MemifSocket {
  readonly socket_id: number;
  readonly socket_filename: string;
}

export interface MemifDevice {
  readonly sw_if_index: number;
  readonly id: number;
  readonly socket_id: number;
  readonly is_master: boolean;
  readonly is_ip: boolean;
}

/** Its own, in VPP's run directory. */
const default_socket: MemifSocket = { socket_id: 0, socket_filename: '/run/vpp/memif.sock' };
const auto_first = 2_000_000_000;

export class Memifs {
  readonly sockets = new Map<number, MemifSocket>([[0, default_socket]]);
  readonly devices = new Map<number, MemifDevice>();

  constructor(readonly interfaces: Interfaces) {}

  addSocket(socket_id: number | undefined, socket_filename: string): number {
    if (socket_filename === '') refuse(retval.INVALID_ARGUMENT, { socket_id });
    const id = socket_id ?? auto_first + this.sockets.size;
    const known = this.sockets.get(id);
    if (known !== undefined && known.socket_filename !== socket_filename)
      refuse(retval.ENTRY_ALREADY_EXISTS, { socket_id: id });
    this.sockets.set(id, { socket_id: id, socket_filename });
    return id;
  }

  removeSocket(socket_id: number): void {
    if (!this.sockets.has(socket_id)) refuse(retval.INVALID_ARGUMENT, { socket_id });
    if (this.#on(socket_id).length > 0) refuse(retval.UNEXPECTED_INTF_STATE, { socket_id });
    this.sockets.delete(socket_id);
  }

  add(wanted: Omit<MemifDevice, 'sw_if_index'>, mac: string): Interface {
    const { socket_id, id } = wanted;
    if (!this.sockets.has(socket_id)) refuse(retval.INVALID_ARGUMENT);
    const others = this.#on(socket_id);
    if (others.some((other) => other.id === id || other.is_master !== wanted.is_master))
      refuse(retval.SUBIF_ALREADY_EXISTS);
    const one = this.interfaces.create({
      name: `memif${socket_id}/${id}`,
      dev_type: 'memif',
      ethernet: !wanted.is_ip,
      mac: wanted.is_ip ? '00:00:00:00:00:00' : mac,
      instance: 0,
    });
    this.devices.set(one.sw_if_index, { ...wanted, sw_if_index: one.sw_if_index });
    return one;
  }

  /** The interface itself is the caller's to remove. */
  delete(sw_if_index: number): Interface {
    if (!this.devices.delete(sw_if_index)) refuse(retval.INVALID_SW_IF_INDEX);
    return this.interfaces.get(sw_if_index);
  }

  #on(socket_id: number): MemifDevice[] {
    return [...this.devices.values()].filter((device) => device.socket_id === socket_id);
  }
}

interface Client {
  readonly address: string;
  readonly table: FibTable;
  readonly ports: readonly pbl_port_range[];
  /** The copy that forwards. */
  clone: number;
}

export class PblClients {
  /** A copy has the number of its client. */
  readonly #pool = new Pool<Client | number>();

  constructor(readonly interfaces: Interfaces) {}

  get #fib() {
    return this.interfaces.fib;
  }

  add(
    table_id: number,
    address: string,
    ports: readonly pbl_port_range[],
    path: Parameters<Interfaces['fib']['set']>[3][number],
  ): number {
    const table = this.#fib.table(familyOf(address), table_id);
    if (table === undefined) throw new Death('a pbl client in a table that does not exist');
    const client: Client = { address, table, ports, clone: 0 };
    let id = 0;
    this.#pool.add((index) => {
      id = index;
      return client;
    });
    this.#pool.add((index) => {
      client.clone = index;
      return id;
    });
    this.#fib.set(table, hostPrefix(address), source.pbl, [path]);
    return id;
  }

  remove(id: number): void {
    const client = this.#pool.get(id);
    if (client === undefined) return refuse(retval.NO_SUCH_ENTRY);
    if (typeof client === 'number') throw new Death('the copy of a pbl client is deleted');
    this.#fib.remove(client.table, hostPrefix(client.address), source.pbl);
    this.#pool.remove(client.clone);
    this.#pool.remove(id);
  }

  /** `show pbl client`: without a program at the memif its ports are dropped. */
  show(): string {
    const lines: string[] = [];
    for (let id = 0; id < this.#pool.end; id += 1) {
      const one = this.#pool.get(id);
      if (one === undefined) continue;
      if (typeof one !== 'number') {
        lines.push(`[${id}] pbl-client: ${one.address} clone:${one.clone}`);
        continue;
      }
      const client = this.#pool.get(one) as Client;
      const ip = `ip${familyOf(client.address)}`;
      lines.push(
        `[${id}] pbl-client: ${client.address}`,
        `  TCP ports:${portsText(client.ports, 'IP_API_PROTO_TCP')}`,
        `  UDP ports:${portsText(client.ports, 'IP_API_PROTO_UDP')}`,
        '  matched dpo',
        `    [@0]: dpo-drop ${ip}`,
        '  default dpo',
        `    ${this.#otherwise(client, ip)}`,
      );
    }
    return lines.map((line) => `${line}\n`).join('');
  }

  #otherwise({ table, address }: Client, ip: string): string {
    const by = this.#fib.behind(table, hostPrefix(address), source.pbl)?.[0];
    const one = by === undefined ? undefined : this.interfaces.all.get(by.sw_if_index);
    return one === undefined
      ? `[@0]: dpo-drop ${ip}`
      : `[@2]: ${ip.replace('ip', 'ipv')} via ${by?.nh.address} ${one.name}: mtu:9000 next:7 flags:[]`;
  }
}

function portsText(ports: readonly pbl_port_range[], protocol: string): string {
  const of_it = ports.filter(({ iproto }) => iproto === protocol);
  if (of_it.length === 0) return ' (empty)';
  return of_it.map(({ start, end }) => (start >= end ? ` ${start}` : ` ${start}-${end}`)).join('');
}
