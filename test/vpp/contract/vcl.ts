/** Application namespaces of VPP's host stack. */
import { app_namespace_add_del_v4, session_enable_disable_v2 } from 'vpp-binapi-ts/session';
import { ask, bind, interfaces, loopback, none, type Sequence, type Step, table, up } from './steps.js';

/** None of a namespace: the sockets are in that of VPP. */
const name = (which: string): string => `abstract:contract/${which}`;
const enabled = ask(session_enable_disable_v2, { rt_engine_type: 'RT_BACKEND_ENGINE_API_NONE' });
const namespace = (namespace_id: string, sock_name: string, sw_if_index: number): Step =>
  ask(app_namespace_add_del_v4, {
    is_add: true,
    secret: 0n,
    sw_if_index,
    ip4_fib_id: none,
    ip6_fib_id: none,
    namespace_id,
    sock_name,
  });
const no_namespace = (namespace_id: string): Step =>
  ask(app_namespace_add_del_v4, {
    is_add: false,
    secret: 0n,
    sw_if_index: none,
    ip4_fib_id: none,
    ip6_fib_id: none,
    namespace_id,
    sock_name: '',
  });

const pod = 16_777_216;
const pod_with_loopback: readonly Step[] = [
  enabled,
  table(pod, false, 'pod-ip4'),
  table(pod, true, 'pod-ip6'),
  loopback(),
  bind(1, false, pod),
  bind(1, true, pod),
  up(1),
];

export const sequences: readonly Sequence[] = [
  {
    name: 'application namespaces before there is a host stack',
    steps: [loopback(), namespace('a', name('a'), 1), no_namespace('a')],
  },
  {
    name: 'application namespaces, each with a socket of its own',
    steps: [
      ...pod_with_loopback,
      enabled,
      namespace('a', name('a'), 7),
      namespace('a', name('a'), none),
      namespace('a', name('a'), 1),
      namespace('a', name('a'), 1),
      namespace('b', name('b'), 1),
      namespace('c', name('a'), 1),
      no_namespace('a'),
      no_namespace('a'),
      namespace('a', name('a'), 1),
      no_namespace('b'),
      no_namespace('a'),
      interfaces(),
    ],
  },
  {
    name: 'an application namespace whose socket could not be made: it is there, answers 0, and VPP dies when it goes',
    dies: true,
    steps: [
      ...pod_with_loopback,
      namespace('a', 'abstract:contract/a,netns_name=/nowhere', 1),
      namespace('a', 'abstract:contract/a,netns_name=/nowhere', 1),
      no_namespace('a'),
    ],
  },
];
