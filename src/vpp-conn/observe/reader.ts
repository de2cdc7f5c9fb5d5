/** How VPP is read: what it lacks is not asked for, and what is gone meanwhile is gone. */
import { type Client, type Dump, type Message, type Request, RetvalError } from 'vpp-binapi-ts';
import type { address_family } from 'vpp-binapi-ts/ip_types';
import type { Family } from '../../ip/text.js';
import type { InterfaceTag } from '../../objects/interfaces.js';

export const families: readonly Family[] = [4, 6];
export const af: Readonly<Record<Family, address_family>> = { 4: 'ADDRESS_IP4', 6: 'ADDRESS_IP6' };
export const familyOfAf = (value: address_family): Family => (value === 'ADDRESS_IP6' ? 6 : 4);

/** Names an interface, also one that VPP has no more. */
export type TagOf = (sw_if_index: number) => InterfaceTag;

export class Reader {
  readonly #vpp: Pick<Client, 'dump' | 'request' | 'compatible'>;
  readonly #known = new Map<unknown, boolean>();
  #walk: Promise<unknown> = Promise.resolve();

  constructor(vpp: Pick<Client, 'dump' | 'request' | 'compatible'>) {
    this.#vpp = vpp;
  }

  /** Nothing where VPP has not this message, as without its plugin, or not the object it is asked of. */
  async dump<In, Details>(message: Dump<In, Details>, fields: In): Promise<Details[]> {
    if (!this.#has(message)) return [];
    try {
      return await this.#vpp.dump(message, fields);
    } catch (error) {
      if (error instanceof RetvalError) return [];
      throw error;
    }
  }

  /** Hands each detail on as it comes and keeps none. */
  async each<In, Details>(
    message: Dump<In, Details>,
    fields: In,
    take: (details: Details) => void,
  ): Promise<void> {
    if (!this.#has(message)) return;
    try {
      await this.#vpp.dump(message, fields, { each: take });
    } catch (error) {
      if (!(error instanceof RetvalError)) throw error;
    }
  }

  /**
   * `each` of what VPP may have by the hundred thousand, one after the other: it goes through all of it without looking up, and through what
   * else was asked meanwhile; until then it says nothing, to the probe neither.
   */
  walk<In, Details>(message: Dump<In, Details>, fields: In, take: (details: Details) => void): Promise<void> {
    const walk = this.#walk.then(() => this.each(message, fields, take));
    this.#walk = walk.catch(() => undefined);
    return walk;
  }

  /** Undefined where VPP has not this message, or refuses. */
  async ask<In, Reply>(message: Request<In, Reply>, fields: In): Promise<Reply | undefined> {
    if (!this.#has(message)) return undefined;
    try {
      return await this.#vpp.request(message, fields);
    } catch (error) {
      if (error instanceof RetvalError) return undefined;
      throw error;
    }
  }

  /** One of each, in the order of `all`; those that VPP knows nothing of are left out. */
  async askAll<In, Reply>(message: Request<In, Reply>, all: readonly In[]): Promise<(Reply | undefined)[]> {
    return Promise.all(all.map((fields) => this.ask(message, fields)));
  }

  #has(message: Message<never, never> | Dump<never, unknown> | Request<never, unknown>): boolean {
    let known = this.#known.get(message);
    if (known === undefined) {
      known = this.#vpp.compatible([message as Message<unknown, never>]).compatible;
      this.#known.set(message, known);
    }
    return known;
  }
}
