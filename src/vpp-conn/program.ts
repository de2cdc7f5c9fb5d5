/**
 * Objects to API requests: for each kind how it is added and how it is removed. Everything here can be sent without
 * waiting for what was sent before it, but for the handles that a request makes.
 */
import type { ObjectKind, VppObject } from '../objects/object.js';
import type { Call } from './call.js';
import type { Handles } from './handles.js';
import { advertisement } from './program/advertisement.js';
import { cnat } from './program/cnat.js';
import { none, type Program, type Programs } from './program/common.js';
import { interfaces } from './program/interfaces.js';
import { ipsec } from './program/ipsec.js';
import { memif } from './program/memif.js';
import { policy } from './program/policy.js';
import { redirect } from './program/redirect.js';
import { routing } from './program/routing.js';
import { srv6 } from './program/srv6.js';
import { tunnels } from './program/tunnels.js';
import { uplink_devices } from './program/uplink-devices.js';
import { vcl } from './program/vcl.js';
import { wireguard } from './program/wireguard.js';

const programs: Programs<ObjectKind> = {
  ...interfaces,
  ...uplink_devices,
  ...tunnels,
  ...wireguard,
  ...ipsec,
  ...srv6,
  ...memif,
  ...vcl,
  ...routing,
  ...cnat,
  ...policy,
  ...redirect,
  ...advertisement,
};

/** Requests that add `object`; the first one makes its handle, where it has one. */
export function programAdd(object: VppObject, at: Handles): readonly Call[] {
  return (programs[object.kind] as Program<VppObject>).add(object, at);
}

/** Requests that complete an added object once its handle is known. */
export function programFollow(object: VppObject, at: Handles): readonly Call[] {
  return (programs[object.kind] as Program<VppObject>).follow?.(object, at) ?? none;
}

export function programRemove(object: VppObject, at: Handles): readonly Call[] {
  return (programs[object.kind] as Program<VppObject>).remove(object, at);
}
