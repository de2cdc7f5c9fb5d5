/** Tells others of a pod's addresses in a network beside the default one, so that other nodes have a way to them. */
import type { NetworkAddresses } from '../desired/network-addresses.js';
import { networkOfPod } from '../desired/pod.js';
import type { PodNode } from '../messages/pod.js';
import { addressesOf, type PodKey, type PodSpec } from '../pod/spec.js';

export class PodAddresses {
  constructor(
    private readonly key: PodKey,
    private readonly all: NetworkAddresses | undefined,
  ) {}

  /** It is connected: others send to it from now on. */
  areThere(spec: PodSpec, networks: PodNode['networks']): void {
    const network = networkOfPod(spec, networks);
    if (network === undefined || network === 'default') this.areGone();
    else this.all?.put(this.key, addressesOf(spec), network);
  }

  /** Not any more, before it cannot be reached. */
  areGone(): void {
    this.all?.remove(this.key);
  }
}
