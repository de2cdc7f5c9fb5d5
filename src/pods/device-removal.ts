/** The end of a pod's device in Linux. It comes before that of VPP's interface (`PodDevice.drop`), and beside the mailbox: DeviceGone tells. */
import type { ActorContext } from '../actor-system.js';
import type { PodMessage } from '../messages/pod.js';
import type { PodRecord } from '../pod/record.js';
import type { PodDevice } from './pod-device.js';

export class DeviceRemoval {
  readonly #ctx: Pick<ActorContext<PodMessage>, 'tellSelf'>;
  readonly #device: Pick<PodDevice, 'drop'>;
  #state: 'there' | 'going' | 'gone' = 'there';
  /** Somebody waits for the room. */
  #urgent = false;

  constructor(ctx: Pick<ActorContext<PodMessage>, 'tellSelf'>, device: Pick<PodDevice, 'drop'>) {
    this.#ctx = ctx;
    this.#device = device;
  }

  get underWay(): boolean {
    return this.#state === 'going';
  }

  /** The device has not been removed by us since VPP made it. */
  get isDue(): boolean {
    return this.#state === 'there';
  }

  /** DeviceGone is told, whatever becomes of it. */
  begin(record: PodRecord, urgent: boolean): void {
    this.#state = 'going';
    void this.#device.drop(record, urgent || this.#urgent).then(() => {
      this.#ctx.tellSelf({ type: 'DeviceGone' });
    });
  }

  /** An ADD waits behind it. */
  hurry(record: PodRecord | undefined): void {
    if (this.underWay && record !== undefined) void this.#device.drop(record, true);
  }

  /** One that begins later is urgent, too. */
  insist(record: PodRecord | undefined): void {
    this.#urgent = true;
    this.hurry(record);
  }

  gone(): void {
    this.#state = 'gone';
  }

  /** VPP is told to make the device. */
  madeAnew(): void {
    this.#state = 'there';
  }

  /** The pod is no more: another may come by its name. */
  end(): void {
    this.#state = 'there';
    this.#urgent = false;
  }
}
