/** Whether the threads of VPP that poll a device sit on its NUMA node: what they read and write else passes between two nodes, packet by packet. Pure. */
import type { RxPlacement } from '../objects/interfaces.js';
import type { NumaOfThreads } from '../vpp-conn/numa-of-threads.js';

/** `device`: its NUMA node. Of what is not known nothing is said. VPP hands queues to its workers in turn, wherever these sit. */
export function farFrom(
  device: number | undefined,
  queues: readonly RxPlacement[],
  threads: NumaOfThreads,
): string[] {
  if (device === undefined) return [];
  const there = `while the device is on node ${device}`;
  const [main, ...workers] = threads;
  if (workers.length === 0) {
    return main === undefined || main === device
      ? []
      : [
          `VPP's main thread polls it from NUMA node ${main}, ${there}: set main-core in CALICOVPP_CONFIG_TEMPLATE (cpu) to a CPU of node ${device}, which lscpu names`,
        ];
  }
  const far = queues.flatMap(({ queue_id, worker_id }) => {
    const node = workers[worker_id];
    return node === undefined || node === device
      ? []
      : [`queue ${queue_id} by worker ${worker_id} from NUMA node ${node}`];
  });
  return far.length === 0
    ? []
    : [
        `VPP polls ${far.join(', ')}, ${there}: set corelist-workers in CALICOVPP_CONFIG_TEMPLATE (cpu) to CPUs of node ${device}, which lscpu names`,
      ];
}
