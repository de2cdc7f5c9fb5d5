/** WireGuard's interfaces and peers, as VPP keeps them: peers of one key in all, whatever interface they are of. No packet leaves. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import type { Interface, Interfaces } from './interfaces.js';
import { refuse, retval } from './outcome.js';
import { Instances, Pool } from './pool.js';

export interface WireguardDevice {
  readonly sw_if_index: number;
  readonly instance: number;
  readonly private_key: Uint8Array;
  readonly public_key: Uint8Array;
  readonly port: number;
  readonly src_ip: string;
}

export interface WireguardPeer {
  readonly peer_index: number;
  readonly public_key: Uint8Array;
  readonly port: number;
  readonly persistent_keepalive: number;
  readonly table_id: number;
  readonly endpoint: string;
  readonly sw_if_index: number;
  readonly allowed_ips: readonly string[];
}

export class Wireguard {
  readonly devices = new Map<number, WireguardDevice>();
  readonly #instances = new Instances();
  readonly #peers = new Pool<WireguardPeer>();

  constructor(readonly interfaces: Interfaces) {}

  add({ private_key, port, src_ip }: Pick<WireguardDevice, 'private_key' | 'port' | 'src_ip'>): Interface {
    const instance = this.#instances.take();
    const one = this.interfaces.create({
      name: `wg${instance}`,
      dev_type: 'Wireguard Tunnel',
      ethernet: false,
      mac: '00:00:00:00:00:00',
      instance,
      // Until it is set.
      mtu: 0,
    });
    const { sw_if_index } = one;
    const public_key = publicKeyOf(private_key);
    this.devices.set(sw_if_index, { sw_if_index, instance, private_key, public_key, port, src_ip });
    return one;
  }

  /** The interface itself is the caller's to remove. Its peers go with it. */
  delete(sw_if_index: number): Interface {
    const one = this.interfaces.get(sw_if_index);
    const device = this.devices.get(sw_if_index) ?? refuse(retval.INVALID_VALUE);
    for (const peer of this.peers) if (peer.sw_if_index === sw_if_index) this.#peers.remove(peer.peer_index);
    this.devices.delete(sw_if_index);
    this.#instances.free(device.instance);
    return one;
  }

  get peers(): readonly WireguardPeer[] {
    const all: WireguardPeer[] = [];
    for (let index = 0; index < this.#peers.end; index += 1) {
      const peer = this.#peers.get(index);
      if (peer !== undefined) all.push(peer);
    }
    return all;
  }

  addPeer(wanted: Omit<WireguardPeer, 'peer_index'>): WireguardPeer {
    if (wanted.allowed_ips.length === 0) refuse(retval.INVALID_VALUE);
    if (!this.devices.has(wanted.sw_if_index)) refuse(retval.INVALID_SW_IF_INDEX);
    const key = Buffer.from(wanted.public_key);
    if (this.peers.some(({ public_key }) => key.equals(public_key))) refuse(retval.ENTRY_ALREADY_EXISTS);
    return this.#peers.add((peer_index) => ({ ...wanted, peer_index }));
  }

  removePeer(peer_index: number): void {
    if (this.#peers.get(peer_index) === undefined) refuse(retval.NO_SUCH_ENTRY);
    this.#peers.remove(peer_index);
  }
}

/** RFC 8410: what stands before the 32 bytes of a private key of X25519. */
const pkcs8_head = Buffer.from('302e020100300506032b656e04220420', 'hex');

function publicKeyOf(private_key: Uint8Array): Uint8Array {
  const key = createPrivateKey({
    key: Buffer.concat([pkcs8_head, private_key]),
    format: 'der',
    type: 'pkcs8',
  });
  return Buffer.from(createPublicKey(key).export({ format: 'jwk' }).x ?? '', 'base64url');
}
