/** VPP's host stack for a pod: where programs of the pod attach to it. */
import type { InterfaceTag } from './interfaces.js';
import { type Kinds, remove } from './kind.js';

/**
 * An application namespace. Programs reach it by a socket in the pod's network namespace, and have the addresses and the table of the pod's
 * loopback. Its id is VPP's matter and ours: programs never say it.
 */
export interface ApplicationNamespace {
  readonly kind: 'app_namespace';
  /** The pod's loopback. */
  readonly interface: InterfaceTag;
  /** Path of the network namespace that the socket is in. */
  readonly netns: string;
}

export type VclObject = ApplicationNamespace;

/** In VPP's spelling of an abstract socket in a namespace, by the name that the Go implementation gives it. At most 107 bytes. */
export function sessionSocket({ netns }: Pick<ApplicationNamespace, 'netns'>): string {
  return `abstract:vpp/session,netns_name=${netns}`;
}

/** The namespace of a socket that VPP has by this name; undefined: it is none of a pod's. */
export function sessionSocketPlace(name: string): string | undefined {
  return /^abstract:vpp\/session,netns_name=(\/[^,]+)$/.exec(name)?.[1];
}

export const vcl_kinds: Kinds<VclObject> = {
  // VPP looks its tables up when it is made, and does not keep the interface: it comes when that has all, and goes before anything of it does.
  app_namespace: {
    key: (o) => o.interface,
    on: (o) => [o.interface],
    owner: { by: 'interface', of: (o) => o.interface },
    same: (wanted, there) => wanted.netns === there.netns,
    add: 82,
    remove: remove.through - 2,
    change: 'remove_first',
  },
};
