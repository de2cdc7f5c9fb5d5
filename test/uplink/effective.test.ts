import t from 'tap';
import type { CapturedUplink } from '../../src/uplink/captured.js';
import { effectiveUplink } from '../../src/uplink/effective.js';
import { uplinkOf } from '../../src/uplink/uplink-of.js';
import { specOf, UplinkLab } from './uplink-lab.js';

const [plain] = new UplinkLab().host.capture([specOf()]);
const pci = { address: '0000:00:03.0', vendor: '15ad', device: '07b0', group: [], vfs: [], vfs_max: 0 };
const shown = (
  changes: Partial<CapturedUplink>,
  gso = { asked: true, on: true },
  polled: Partial<Parameters<typeof effectiveUplink>[3]> = {},
) => {
  const captured: CapturedUplink = { ...plain!, ...changes };
  const uplink = uplinkOf(captured, gso.on, 'main-eth0');
  return effectiveUplink(captured, uplink, gso, {
    objects: [
      { kind: 'rx_placement', interface: 'main-eth0', queue_id: 0, worker_id: 1 },
      { kind: 'rx_placement', interface: 'host-eth0', queue_id: 0, worker_id: 0 },
    ],
    workers: 2,
    numa: [0, 0, 1],
    ...polled,
  });
};

t.test('how an uplink is driven', async (t) => {
  t.same(
    shown({
      spec: specOf({ driver: 'vmxnet3', rx_queues: 4 }),
      pci: { ...pci, driver: 'vmxnet3', numa: 1 },
    }),
    {
      name: 'eth0',
      driver: 'vmxnet3',
      pci: pci.address,
      kernel_driver: 'vmxnet3',
      numa: 1,
      mtu: 9000,
      rx_mode: 'adaptive',
      rx_queues: 4,
      tx_queues: 1,
      rx_ring: 1024,
      tx_ring: 1024,
      gso: true,
      threads: ['queue 0: worker 1'],
      slower: [],
    },
  );
});

t.test('where it is slower than was asked for, or than the device could have it', async (t) => {
  const slower = (...args: Parameters<typeof shown>) => shown(...args).slower.join('; ');
  t.equal(slower({}), '');
  t.match(
    slower({
      pci: { ...pci, driver: 'vmxnet3' },
      driver: 'af_packet',
      passed_over: { virtio: 'another device', vmxnet3: 'no hugepages' },
    }),
    /^af_packet in place of vmxnet3: no hugepages$/,
  );
  t.match(slower({ spec: specOf({ driver: 'ige', rx_queues: 8 }) }), /4 receive queues in place of 8/);
  t.match(
    slower({ spec: specOf({ driver: 'rdma' }) }, { asked: true, on: false }),
    /cut before VPP gets them/,
  );
  t.match(slower({ offloads: false }), /takes no segments larger/);
});

t.test(
  'queues that the hypervisor has, or a start-up file, are those that VPP polls, as it polls them',
  async (t) => {
    const spec = specOf({ driver: 'virtio', rx_queues: 4 });
    const virtio = { ...pci, vendor: '1af4', device: '1041', driver: 'virtio-pci' };
    const polled = (mode: 'polling' | 'adaptive', workers: number) => {
      return shown({ spec, pci: virtio }, undefined, {
        objects: [
          { kind: 'rx_placement', interface: 'main-eth0', queue_id: 0, worker_id: 0 },
          { kind: 'interface_rx_mode', interface: 'main-eth0', mode },
          { kind: 'interface_rx_mode', interface: 'host-eth0', mode: 'interrupt' },
        ],
        workers,
      });
    };
    t.match(polled('polling', 0), {
      rx_queues: 1,
      rx_mode: 'polling',
      threads: undefined,
      slower: ['1 receive queues in place of 4: no more are to be had'],
    });
    t.match(polled('adaptive', 1), { rx_mode: 'adaptive', threads: ['queue 0: worker 0'] });
    t.match(shown({ spec, pci: virtio }, undefined, { objects: [] }), { rx_mode: 'adaptive', slower: [] });
  },
);

t.test('a queue that is polled from another NUMA node than the device is on', async (t) => {
  const queue = (queue_id: number, worker_id: number) =>
    ({ kind: 'rx_placement', interface: 'main-eth0', queue_id, worker_id }) as const;
  const told = (
    device: number | undefined,
    numa: readonly (number | undefined)[],
    objects = [queue(0, 0), queue(1, 1)],
  ) =>
    shown({ pci: { ...pci, ...(device !== undefined && { numa: device }) } }, undefined, {
      objects,
      workers: numa.length - 1,
      numa,
    }).slower.join('; ');
  t.equal(
    told(1, [0, 1, 0]),
    'VPP polls queue 1 by worker 1 from NUMA node 0, while the device is on node 1: set corelist-workers in CALICOVPP_CONFIG_TEMPLATE (cpu) to CPUs of node 1, which lscpu names',
  );
  t.match(told(1, [0, 0, 2]), /polls queue 0 by worker 0 from NUMA node 0, queue 1 by worker 1 from .* 2,/);
  t.equal(told(1, [0, 1, 1]), '', 'the main thread polls none of them');
  t.equal(told(1, [0, 1, 0], [queue(0, 0)]), '', 'nor does the worker that is far from it');
  t.match(told(1, [0], [queue(0, 0)]), /main thread polls it from NUMA node 0.* node 1: set main-core/);
  t.equal(told(0, [0], [queue(0, 0)]), '');
  for (const numa of [[0], [0, 1, 0]])
    t.equal(told(undefined, numa), '', 'a machine of one node, as the kernel says it');
  for (const numa of [[undefined], [0, undefined, undefined], []]) t.equal(told(1, numa), '');
  t.equal(shown({ pci: { ...pci, numa: 1 } }, undefined, { objects: [] }).slower.join(), '', 'not told yet');
});
