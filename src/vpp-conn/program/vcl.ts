/** VPP's host stack for pods. */
import { app_namespace_add_del_v4 } from 'vpp-binapi-ts/session';
import { sessionSocket } from '../../objects/vcl.js';
import { appNamespaceId } from '../app-namespace-ids.js';
import { call } from '../call.js';
import { no_interface } from '../paths.js';
import { none, type Programs } from './common.js';

/** Of the interface. */
const no_table = 0xffff_ffff;
/** Whoever is in the pod's network namespace may use its socket. */
const no_secret = 0n;

export const vcl: Programs<'app_namespace'> = {
  app_namespace: {
    add: (o, at) => {
      const number = at.app_namespaces.next(o.interface);
      return [
        call(
          app_namespace_add_del_v4,
          {
            is_add: true,
            secret: no_secret,
            sw_if_index: at.interface(o.interface),
            ip4_fib_id: no_table,
            ip6_fib_id: no_table,
            namespace_id: appNamespaceId(o.interface, number),
            sock_name: sessionSocket(o),
          },
          { made: () => number },
        ),
      ];
    },
    follow: (o, at) => {
      at.app_namespaces.made(o.interface, at.of(o));
      return none;
    },
    remove: (o, at) => [
      call(app_namespace_add_del_v4, {
        is_add: false,
        secret: no_secret,
        sw_if_index: no_interface,
        ip4_fib_id: no_table,
        ip6_fib_id: no_table,
        namespace_id: appNamespaceId(o.interface, at.of(o)),
        sock_name: '',
      }),
    ],
  },
};
