import { closeSync, openSync } from 'node:fs';
import { deviceControl } from '../src/host/libc.js';
import type { NetnsLab } from './netns.js';

const TUNSETIFF = 0x4004_54ca;
const TUNSETCARRIER = 0x4004_54e2;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;

/** A tap as VPP makes one: it lives as long as somebody holds it, who says whether it has a carrier. */
export class HeldTap {
  readonly #fd: number;

  constructor(
    lab: NetnsLab,
    namespace: string,
    readonly name: string,
  ) {
    this.#fd = lab.host.inNamespace(lab.namespace(namespace), () => {
      const fd = openSync('/dev/net/tun', 'r+');
      const ifreq = Buffer.alloc(40);
      ifreq.write(name, 0, 15);
      ifreq.writeUInt16LE(IFF_TAP | IFF_NO_PI, 16);
      deviceControl(fd, TUNSETIFF, ifreq, name);
      return fd;
    });
    this.setCarrier(false);
  }

  setCarrier(on: boolean): void {
    const value = Buffer.alloc(4);
    value.writeInt32LE(on ? 1 : 0);
    deviceControl(this.#fd, TUNSETCARRIER, value, this.name);
  }

  /** Linux removes the device. */
  close(): void {
    closeSync(this.#fd);
  }
}
