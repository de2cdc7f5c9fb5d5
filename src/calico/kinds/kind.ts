import { Faults, Fields, isRecord } from '../fields.js';

/** What a reader makes of one object. Without a value the object cannot be used; with one, the faults name what was left out of it. */
export interface Picked<T> {
  readonly value?: T;
  readonly faults: readonly string[];
}

/** A kind of object of the Kubernetes API as data: where it is, how much of it comes at once, and what of it is kept. */
export interface Kind<T> {
  /** As in the API: `BGPPeer`. */
  readonly name: string;
  readonly plural: string;
  /** API versions that have it, the one to prefer first: `v1` or `group/version`. */
  readonly versions: readonly string[];
  /** What it means that the API has no such kind: there are none (`empty`), or Calico is not installed yet (`wait`). */
  readonly absence: 'empty' | 'wait';
  /** Objects asked for at once: about one megabyte. */
  readonly page: number;
  /** More than a cluster has: a list beyond it is not believed. */
  readonly objects_max: number;
  /** For what a few objects of one namespace are known of. */
  readonly namespace?: string;
  /** The only object wanted. */
  readonly object_name?: string;
  /** Labels of those that are wanted, in Kubernetes' own language of selectors. */
  readonly label_selector?: string;
  /** Whether two values mean the same. Compared by content where it is absent. */
  same?(a: T, b: T): boolean;
  /** Pure; never throws. */
  pick(name: string, object: Readonly<Record<string, unknown>>): Picked<T>;
}

/** The older one comes first: where both are served, that of the datastore itself is the older one. */
export const calico_versions = ['crd.projectcalico.org/v1', 'projectcalico.org/v3'] as const;

/** Reads an object by its fields; `read` gives nothing for one that cannot be used, and has said why. */
export function pickFields<T>(
  object: Readonly<Record<string, unknown>>,
  read: (object: Fields, faults: Faults) => T | undefined,
): Picked<T> {
  const faults = new Faults();
  const value = read(new Fields(object, '', faults), faults);
  return { ...(value !== undefined && { value }), faults: faults.list };
}

/** Leaves out what is undefined: a field is there or not. */
export function present<T extends object>(fields: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

/** Where a password is: a key of a Secret in the namespace of this node's pod. */
export interface SecretKeyRef {
  readonly name: string;
  readonly key: string;
}

/** `{secretKeyRef: {name, key}}` in this field. What else is there may be the password itself: no fault shows it. */
export function secretKeyRef(spec: Fields, field: string): SecretKeyRef | undefined {
  const password = spec.raw(field);
  if (password === undefined) return undefined;
  const ref = isRecord(password) ? password.secretKeyRef : undefined;
  const { name, key } = isRecord(ref) ? ref : {};
  if (typeof name === 'string' && name !== '' && typeof key === 'string' && key !== '') return { name, key };
  return spec.fault(field, 'names no Secret: set secretKeyRef with name and key');
}

/** A number, or Calico's texts `65001` and `1.10`. */
export function asNumber(value: unknown): number | undefined {
  if (typeof value === 'number')
    return Number.isInteger(value) && value > 0 && value < 2 ** 32 ? value : undefined;
  if (typeof value !== 'string') return undefined;
  if (/^\d{1,10}$/.test(value)) return asNumber(Number(value));
  const [, high, low] = /^(\d{1,5})\.(\d{1,5})$/.exec(value) ?? [];
  if (high === undefined || Number(low) > 65_535) return undefined;
  return asNumber(Number(high) * 65_536 + Number(low));
}

export const expected_as_number = 'an AS number from 1 to 4294967295';

/** A standard community `aa:nn` of 16 bits each, or a large one `aa:nn:mm` of 32 bits each. */
export function community(value: unknown): string | undefined {
  if (typeof value !== 'string' || !/^\d{1,10}(:\d{1,10}){1,2}$/.test(value)) return undefined;
  const parts = value.split(':').map(Number);
  const max = parts.length === 2 ? 65_535 : 4_294_967_295;
  return parts.every((part) => part <= max) ? parts.join(':') : undefined;
}

export const expected_community = 'a community such as 65000:100 or 65000:1:2';

/** A time as the API writes it, in milliseconds since 1970. */
export function time_ms(value: unknown): number | undefined {
  const time = typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}

/** Highest metric of Linux' routes that Calico takes. */
export const priority_max = 2_147_483_646;

/** Graceful restart has 12 bits for its seconds. */
export const restart_ms_max = 4_095_000;
