import { app_namespace_add_del_v4, session_enable_disable_v2 } from 'vpp-binapi-ts/session';
import { type Handler, on, onPlain } from '../handler.js';

export const vcl: readonly Handler[] = [
  onPlain(session_enable_disable_v2, (vpp, { rt_engine_type }) => {
    if (rt_engine_type !== 'RT_BACKEND_ENGINE_API_DISABLE') vpp.app_namespaces.enable();
  }),
  on(
    app_namespace_add_del_v4,
    { appns_index: 0 },
    (vpp, { is_add, namespace_id, sock_name, sw_if_index }) => {
      if (is_add) return { appns_index: vpp.app_namespaces.add(namespace_id, sock_name, sw_if_index) };
      vpp.app_namespaces.remove(namespace_id);
      return { appns_index: 0 };
    },
  ),
];
