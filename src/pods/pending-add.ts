/** An ADD that waits or is carried out, with all who asked for the same. */
import { isDeepStrictEqual } from 'node:util';
import type { NamespaceId } from '../linux/network.js';
import type { AddAnswer } from '../messages/pod.js';
import { type PodSpec, podName } from '../pod/spec.js';
import type { Callers } from './callers.js';
import type { Connected, DeviceLink, PodDevice } from './pod-device.js';

export class PendingAdd {
  /** The record says so: VPP may hold some of it. */
  begun = false;
  /** Where it is carried out; known when it has begun. */
  namespace: NamespaceId | undefined;
  /** What became of Linux's part, if that has been done. */
  connected: Connected | undefined;
  /** Queues are not seen in a dump: an interface with others has to be removed first, and made anew. */
  remakes: boolean;

  /** `before`: what the pod was until now. */
  constructor(
    readonly spec: PodSpec,
    readonly before: PodSpec | undefined,
    readonly callers: Callers<AddAnswer>,
  ) {
    this.remakes = before !== undefined && !isDeepStrictEqual(before.interface_spec, spec.interface_spec);
  }

  /** There was no such pod before: when it fails, nothing is to be left of it. */
  get fresh(): boolean {
    return this.before === undefined;
  }

  /** VPP has been lost: it begins again. */
  rewind(): void {
    this.begun = false;
    this.connected = undefined;
  }

  refuse(cause: string): void {
    this.callers.answerAll({ error: `${podName(this.spec.workload, this.spec.interface_name)}: ${cause}` });
  }

  /** It is connected: all who asked are told by which interface of VPP. Answers its name. `mac`: of the pod's device. */
  answer(sw_if_index: number | undefined, mac: string | undefined): string {
    const host_interface_name = `vpp-tun-${sw_if_index}`;
    const has_mac = this.spec.interface_type === 'tap' && mac !== undefined;
    this.callers.answerAll({ host_interface_name, ...(has_mac && { container_mac: mac }) });
    return host_interface_name;
  }

  /** Linux's part. */
  connect(device: PodDevice, link: DeviceLink): Connected {
    this.connected = device.connect(this.spec, this.namespace!, link);
    return this.connected;
  }
}
