import { type Message, sockclnt_create_id, sockclnt_create_reply_id } from 'vpp-binapi-ts';
import { sw_interface_event } from 'vpp-binapi-ts/interface';
import { ip6_ra_event } from 'vpp-binapi-ts/ip6_nd';
import { sockclnt_create } from 'vpp-binapi-ts/memclnt';
import type { Handler } from './handler.js';

/** `string name[64]`, of which the last byte is NUL. */
const entry_length_max = 63;

/** The numbers of this life's messages. Two lives with another `offset` share none but those of the handshake. */
export class MessageIds {
  readonly sockclnt_create = sockclnt_create_id;
  readonly sockclnt_create_reply = sockclnt_create_reply_id;
  readonly table: readonly { readonly index: number; readonly name: string }[];
  readonly handlers = new Map<number, Handler>();
  readonly #ids = new Map<Message<unknown>, number>();

  constructor(handlers: readonly Handler[], offset: number) {
    const events = [sw_interface_event, ip6_ra_event] as readonly Message<unknown>[];
    const messages = [...handlers.flatMap((handler) => [handler.request, ...handler.answers]), ...events];
    const first = sockclnt_create_reply_id + 1 + offset;
    for (const [index, message] of messages.entries()) this.#ids.set(message, first + index);
    for (const handler of handlers) this.handlers.set(this.#ids.get(handler.request)!, handler);
    this.#ids.set(sockclnt_create as Message<unknown>, sockclnt_create_id);
    this.#ids.set(sockclnt_create.reply as Message<unknown>, sockclnt_create_reply_id);
    this.table = [...this.#ids].map(([{ name, crc }, index]) => ({
      index,
      name: `${name}_${crc}`.slice(0, entry_length_max),
    }));
  }

  idOf(message: Message<unknown>): number | undefined {
    return this.#ids.get(message);
  }
}
