/**
 * Who computes the checksums of what is sent by a device that VPP has at its other end. VPP's WireGuard encrypts what it gets: a packet whose checksum
 * was left to a device is encrypted with half of it, and is no good where it arrives. Told by who knows the way to other nodes.
 */
export class SoftwareChecksums {
  #wanted: boolean | undefined;
  #told: (() => void) | undefined;

  /** True: the sender computes them. Undefined: nobody knows yet in this life, and each device stays as an earlier one has left it. */
  get wanted(): boolean | undefined {
    return this.#wanted;
  }

  set(wanted: boolean): void {
    if (this.#wanted === wanted) return;
    this.#wanted = wanted;
    this.#told?.();
  }

  /** One at a time: the last who has asked. */
  hear(told: () => void): void {
    this.#told = told;
  }
}
