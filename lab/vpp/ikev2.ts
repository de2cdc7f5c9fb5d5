/** IKEv2's profiles, as VPP keeps them. No packet leaves: a peer that is begun with, or waited for, has the same key and answers at once. */
import { none } from './fib.js';
import type { Interfaces } from './interfaces.js';
import { refuse, retval } from './outcome.js';

export interface IkeProfile {
  readonly name: string;
  tun_itf: number;
  responder: { readonly sw_if_index: number; readonly addr: string };
  auth: { readonly method: number; readonly data: Uint8Array };
  /** It has an SA. */
  is_up: boolean;
}

const no_auth = { method: 0, data: new Uint8Array() } as const;

export class Ikev2 {
  readonly #profiles = new Map<string, IkeProfile>();

  constructor(readonly interfaces: Interfaces) {}

  get profiles(): readonly IkeProfile[] {
    return [...this.#profiles.values()];
  }

  add(name: string): void {
    if (this.#profiles.has(name)) refuse(retval.UNSPECIFIED);
    const responder = { sw_if_index: none, addr: '0.0.0.0' };
    this.#profiles.set(name, { name, tun_itf: none, responder, auth: no_auth, is_up: false });
  }

  delete(name: string): void {
    this.#set(this.of(name), false);
    this.#profiles.delete(name);
  }

  of(name: string): IkeProfile {
    return this.#profiles.get(name) ?? refuse(retval.UNSPECIFIED);
  }

  authenticate(name: string, auth: IkeProfile['auth']): void {
    const profile = this.of(name);
    profile.auth = auth;
    if (profile.responder.sw_if_index === none) this.#set(profile, true);
  }

  begin(name: string): void {
    const profile = this.of(name);
    if (profile.responder.sw_if_index === none) refuse(retval.UNSPECIFIED);
    this.#set(profile, true);
  }

  #set(profile: IkeProfile, up: boolean): void {
    if (profile.is_up === up) return;
    profile.is_up = up;
    this.interfaces.setAdmin(this.interfaces.get(profile.tun_itf), up);
  }
}
