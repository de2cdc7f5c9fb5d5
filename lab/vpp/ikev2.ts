/** IKEv2's profiles, as VPP keeps them. No packet leaves: a peer that is begun with, or waited for, has the same key and answers at once. */
import type {
  ikev2_esp_transforms,
  ikev2_id,
  ikev2_ike_transforms,
  ikev2_ts,
} from 'vpp-binapi-ts/ikev2_types';
import { none } from './fib.js';
import type { Interfaces } from './interfaces.js';
import { Death, refuse, retval } from './outcome.js';

export interface IkeProfile {
  readonly name: string;
  tun_itf: number;
  responder: { readonly sw_if_index: number; readonly addr: string };
  auth: { readonly method: number; readonly hex: number; readonly data: Uint8Array };
  loc_id: ikev2_id;
  rem_id: ikev2_id;
  loc_ts: ikev2_ts;
  rem_ts: ikev2_ts;
  ike_ts: ikev2_ike_transforms;
  esp_ts: ikev2_esp_transforms;
  /** It has an SA. */
  is_up: boolean;
}

const no_auth = { method: 0, hex: 0, data: new Uint8Array() } as const;
const no_id: ikev2_id = { type: 0, data_len: 0, data: '' };
const noSelector = (is_local: boolean): ikev2_ts => ({
  sa_index: 0,
  child_sa_index: 0,
  is_local,
  protocol_id: 0,
  start_port: 0,
  end_port: 0,
  start_addr: '0.0.0.0',
  end_addr: '0.0.0.0',
});
const no_transforms = { crypto_alg: 0, crypto_key_size: 0, integ_alg: 0, prf_alg: 0, dh_group: 0 } as const;

/** Of IANA's registry of IKEv2 parameters. */
const id_types: readonly number[] = [1, 2, 3, 5];
const aeads: readonly number[] = [20, 28];

export class Ikev2 {
  readonly #profiles = new Map<string, IkeProfile>();
  /** It has the table that profiles are looked up in. */
  #has_begun = false;

  constructor(readonly interfaces: Interfaces) {}

  get profiles(): readonly IkeProfile[] {
    return [...this.#profiles.values()];
  }

  add(name: string): void {
    this.#has_begun = true;
    if (this.#profiles.has(name)) refuse(retval.UNSPECIFIED);
    this.#profiles.set(name, {
      name,
      tun_itf: none,
      responder: { sw_if_index: none, addr: '0.0.0.0' },
      auth: no_auth,
      loc_id: no_id,
      rem_id: no_id,
      loc_ts: noSelector(true),
      rem_ts: noSelector(false),
      ike_ts: no_transforms,
      esp_ts: no_transforms,
      is_up: false,
    });
  }

  delete(name: string): void {
    this.#has_begun = true;
    this.#set(this.of(name), false);
    this.#profiles.delete(name);
  }

  of(name: string): IkeProfile {
    if (!this.#has_begun) throw new Death('a request about a profile of IKE before it has had any');
    return this.#profiles.get(name) ?? refuse(retval.UNSPECIFIED);
  }

  identify(name: string, is_local: boolean, type: number, data: Uint8Array): void {
    if (data.length === 0) refuse(retval.INVALID_VALUE);
    if (!id_types.includes(type)) refuse(retval.UNSPECIFIED);
    // What is shown of it is a text, which ends at a byte of 0.
    const text = new TextDecoder().decode(data).split('\0', 1)[0]!;
    this.of(name)[is_local ? 'loc_id' : 'rem_id'] = { type, data_len: data.length, data: text };
  }

  select(name: string, ts: ikev2_ts): void {
    const profile = this.of(name);
    if (ts.start_addr.includes(':') !== ts.end_addr.includes(':')) refuse(retval.UNSPECIFIED);
    profile[ts.is_local ? 'loc_ts' : 'rem_ts'] = { ...ts, sa_index: 0, child_sa_index: 0 };
  }

  propose(name: string, ike_ts: ikev2_ike_transforms): void {
    const profile = this.of(name);
    // A cipher that proves what it has encrypted wants no other proof, and every other one does.
    if (aeads.includes(ike_ts.crypto_alg) === (ike_ts.integ_alg !== 0)) refuse(retval.UNSPECIFIED);
    profile.ike_ts = ike_ts;
  }

  authenticate(name: string, { method, hex, data }: IkeProfile['auth']): void {
    if (data.length === 0) refuse(retval.INVALID_VALUE);
    const profile = this.of(name);
    profile.auth = { method, hex, data };
    if (profile.responder.sw_if_index === none) this.#set(profile, true);
  }

  begin(name: string): void {
    const profile = this.of(name);
    if (profile.responder.sw_if_index === none) refuse(retval.UNSPECIFIED);
    this.#set(profile, true);
  }

  #set(profile: IkeProfile, up: boolean): void {
    // Without a tunnel VPP would make one of its own: nobody here has it do so.
    if (profile.is_up === up || (up && profile.tun_itf === none)) return;
    profile.is_up = up;
    this.interfaces.setAdmin(this.interfaces.get(profile.tun_itf), up);
  }
}
