/** All faults, in the order in which they are run. */
import * as carrier_lost from './carrier-lost.js';
import * as disk_full from './disk-full.js';
import type { Fault } from './fault-lab.js';
import * as netns_gone from './netns-gone.js';
import * as node_and_vpp_killed from './node-and-vpp-killed.js';
import * as node_killed from './node-killed.js';
import * as node_killed_in_add from './node-killed-in-add.js';
import * as node_killed_in_start from './node-killed-in-start.js';
import * as node_stalls from './node-stalls.js';
import * as node_stalls_vpp_killed from './node-stalls-vpp-killed.js';
import * as node_stopped_in_add from './node-stopped-in-add.js';
import * as node_stopped_in_start from './node-stopped-in-start.js';
import * as poison_pod from './poison-pod.js';
import * as run_directory_full from './run-directory-full.js';
import { faults as state_files } from './state-files.js';
import * as vpp_crashes_five_times from './vpp-crashes-five-times.js';
import * as vpp_does_not_end from './vpp-does-not-end.js';
import * as vpp_keeps_crashing from './vpp-keeps-crashing.js';
import * as vpp_killed from './vpp-killed.js';
import * as vpp_killed_in_resync from './vpp-killed-in-resync.js';
import * as vpp_other_message_ids from './vpp-other-message-ids.js';
import * as vpp_pauses from './vpp-pauses.js';
import * as vpp_segfault_under_load from './vpp-segfault-under-load.js';
import * as vpp_socket_shut from './vpp-socket-shut.js';
import * as vpp_stopped from './vpp-stopped.js';
import * as vpp_wrong_clock from './vpp-wrong-clock.js';

/** By what they happen to. */
export const faults_of: Readonly<Record<'vpp' | 'node' | 'surroundings', readonly Fault[]>> = {
  vpp: [
    vpp_killed,
    vpp_segfault_under_load,
    vpp_killed_in_resync,
    vpp_crashes_five_times,
    vpp_keeps_crashing,
    vpp_does_not_end,
    vpp_stopped,
    vpp_pauses,
    vpp_socket_shut,
    vpp_other_message_ids,
    vpp_wrong_clock,
    poison_pod,
  ].map(({ fault }) => fault),
  node: [
    node_killed,
    node_and_vpp_killed,
    node_stalls,
    node_stalls_vpp_killed,
    node_killed_in_start,
    node_stopped_in_start,
    node_killed_in_add,
    node_stopped_in_add,
  ].map(({ fault }) => fault),
  surroundings: [
    ...[disk_full, run_directory_full, netns_gone, carrier_lost].map(({ fault }) => fault),
    ...state_files,
  ],
};

export const faults: readonly Fault[] = Object.values(faults_of).flat();
