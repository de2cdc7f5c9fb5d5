/**
 * What IKE is to have for a tunnel while nobody knows the key: what an earlier life has given to VPP stays, with the key that it has there; what VPP
 * does not have waits for the key. Pure.
 */
import type { InterfaceTag } from '../objects/interfaces.js';
import { type IkeProfile, type IpsecObject, ikeProfileName } from '../objects/ipsec.js';
import { keyOf, type ObjectKey, type VppObject } from '../objects/object.js';

export const isIke = (object: VppObject): object is IpsecObject =>
  object.kind === 'ike_profile' || object.kind === 'ike_initiation';

const profileKey = (name: string): ObjectKey => `ike_profile:${name}`;

/** Those of the profile of one node. */
export const ipsecKeys = (dst: string): readonly ObjectKey[] => {
  const name = ikeProfileName(dst);
  return [profileKey(name), `ike_initiation:${name}`];
};

export class Keyless {
  readonly #waiting = new Map<ObjectKey, IpsecObject>();
  readonly #there: (key: ObjectKey) => VppObject | undefined;

  /** `there`: what VPP has under a key, as far as is known. */
  constructor(there: (key: ObjectKey) => VppObject | undefined) {
    this.#there = there;
  }

  /** Answers what is to be wanted; undefined: nothing yet, and it waits. A profile is told before its initiation. */
  want(object: IpsecObject): IpsecObject | undefined {
    const key = keyOf(object);
    const now = object.kind === 'ike_profile' ? this.#withKey(object) : this.#begun(object);
    if (now === undefined) this.#waiting.set(key, object);
    else this.#waiting.delete(key);
    return now;
  }

  /** What VPP has is known anew. Answers what need not wait any more. */
  compared(): readonly IpsecObject[] {
    return [...this.#waiting.values()].flatMap((object) => this.want(object) ?? []);
  }

  /** The tunnel is wanted no more. */
  forget(tag: InterfaceTag): void {
    for (const [key, object] of this.#waiting) if (object.interface === tag) this.#waiting.delete(key);
  }

  #withKey(profile: IkeProfile): IkeProfile | undefined {
    if (profile.psk !== undefined) return profile;
    const there = this.#there(keyOf(profile));
    const psk = there?.kind === 'ike_profile' ? there.psk : undefined;
    return psk && { ...profile, psk };
  }

  #begun(initiation: IpsecObject): IpsecObject | undefined {
    return this.#waiting.has(profileKey(initiation.name)) ? undefined : initiation;
  }
}
