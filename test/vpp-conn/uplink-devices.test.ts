import t from 'tap';
import { connect } from 'vpp-binapi-ts';
import { memoryFile } from '../../lab/memory-file.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { type PciOfVpp, RecordedDevices } from '../../lab/vpp/devices.js';
import { startStandInVpp } from '../../lab/vpp/stand-in.js';
import { desiredNode } from '../../src/desired/uplink.js';
import type { UplinkDevice } from '../../src/objects/interfaces.js';
import type { VppObject } from '../../src/objects/object.js';
import { owners } from '../../src/objects/owner.js';
import { devId, pciNumber, pciOfNumber, pciOfParts, pciParts } from '../../src/objects/pci-address.js';
import type { Operation } from '../../src/reconcile/operation.js';
import { reconcile, removal } from '../../src/reconcile/reconcile.js';
import { Executor } from '../../src/vpp-conn/execute.js';
import { openFibSources } from '../../src/vpp-conn/fib-sources.js';
import { Handles } from '../../src/vpp-conn/handles.js';
import { messages_of_drivers } from '../../src/vpp-conn/messages.js';
import { observe } from '../../src/vpp-conn/observe/observe.js';
import { programAdd, programFollow, programRemove } from '../../src/vpp-conn/program.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';
import { Registry } from '../../src/vpp-conn/registry.js';
import { nodeOf, uplinkOf } from '../desired/sample.js';

const mac = '02:00:00:00:00:01';
const tag = 'main-eth0';

class Machine extends RecordedDevices {
  constructor(readonly pci: Readonly<Record<string, PciOfVpp>>) {
    super();
  }
  pciDevice(address: string): PciOfVpp | undefined {
    return this.pci[address];
  }
}

const queues = { rx_queues: 2, tx_queues: 1, rx_queue_size: 1024, tx_queue_size: 512 } as const;
const devices: Readonly<Record<string, UplinkDevice>> = {
  virtio: { kind: 'virtio', tag, pci: '0000:00:03.0', mac, gso: true },
  'virtio of another domain': { kind: 'virtio', tag, pci: '10ab:00:02.1', mac, gso: false },
  vmxnet3: { kind: 'vmxnet3', tag, pci: '0000:0b:00.0', ...queues, gso: true },
  iavf: { kind: 'dev_port', tag, pci: '0000:3c:00.0', driver: 'iavf', ...queues, mtu: 9000 },
  ige: { kind: 'dev_port', tag, pci: '0000:04:00.0', driver: 'ige', ...queues },
};

const machine = new Machine({
  '0000:00:03.0': { driver: 'virtio', mac },
  '10ab:00:02.1': { driver: 'virtio', mac },
  '0000:0b:00.0': { driver: 'vmxnet3', mac },
  '0000:3c:00.0': { driver: 'iavf', mac },
  '0000:04:00.0': { driver: 'ige', mac },
});

/** A client of a stand-in, and the processes that program it one after the other. */
async function connected(t: { teardown(run: () => void): void }) {
  const vpp = await startStandInVpp({ devices: machine });
  const client = await connect({ transport: vpp.transport(), name: 'test' });
  t.teardown(() => {
    client.close();
    vpp.close();
  });
  const file = memoryFile();
  return async () => {
    const handles = new Handles();
    handles.lacks = new Set(client.compatible(messages_of_drivers).mismatches.map(({ name }) => name));
    const registry = new Registry(file, 'vpp');
    await openFibSources(client, handles);
    const executor = new Executor({
      connections: { prompt: client, bulk: client },
      handles,
      registry,
      quarantine: new Quarantine(memoryFile(), () => undefined),
      clock: new TurnedClock(),
    });
    const run = (operations: readonly Operation[]) =>
      executor.run(
        { generation: 1, owner: 'test', operations, on_error: 'continue', urgency: 'prompt' },
        () => false,
      );
    return { vpp, run, handles, read: () => observe(client, [...owners, 'nobody'], handles, registry) };
  };
}

const wanted = (device: UplinkDevice): VppObject[] =>
  desiredNode(nodeOf({ uplinks: [uplinkOf({ device })] }), true);

t.test('a fresh process finds each device as it was told, and nothing to do', async (t) => {
  for (const [name, device] of Object.entries(devices)) {
    const process = await connected(t);
    const first = await process();
    t.same((await first.run(reconcile(wanted(device), []))).error, undefined, name);
    const next = await process();
    const { objects, unsure } = await next.read();
    t.match(
      objects.find((object) => 'tag' in object && object.tag === tag),
      { kind: device.kind, ...('pci' in device && device.kind !== 'dev_port' && { pci: device.pci }) },
      name,
    );
    t.same(reconcile(wanted(device), objects, unsure), [], name);
    // Who was not there when they were made takes them away all the same.
    t.same((await next.run(removal(objects))).error, undefined, `${name}: it can be taken away`);
    t.notOk(
      (await (await process()).read()).objects.some((object) => 'pci' in object),
      name,
    );
  }
});

t.test('ports of VPP’s own framework hear groups, and take packets of the MTU of the network', async (t) => {
  for (const name of ['iavf', 'ige'] as const) {
    const process = await connected(t);
    const { run, vpp } = await process();
    t.same((await run(reconcile(wanted(devices[name]!), []))).error, undefined, name);
    const port = [...vpp.state.interfaces.all].find((one) => one.tag === tag);
    t.match(port, { promisc: true, admin_up: true, frame_mtu: name === 'iavf' ? 9000 : undefined }, name);
    await run(removal(wanted(devices[name]!)));
  }
  const { run } = await (await connected(t))();
  const too_large = { ...devices.iavf!, mtu: 9800 } as UplinkDevice;
  const { outcomes } = await run(reconcile(wanted(too_large), []));
  t.match(outcomes.find(({ operation }) => operation.object.kind === 'dev_port')?.error, {
    message: /hw_interface_set_mtu/,
  });
  await run(removal(wanted(too_large)));
});

t.test('a device of another PCI address takes the place of the one that VPP has', async (t) => {
  const process = await connected(t);
  const { run, read } = await process();
  await run(reconcile(wanted(devices.virtio!), []));
  const other = wanted(devices['virtio of another domain']!);
  const { objects, unsure } = await read();
  const changes = reconcile(other, objects, unsure);
  t.match(
    changes.filter(({ object }) => object.kind === 'virtio').map(({ action }) => action),
    ['remove', 'add'],
  );
  t.same((await run(changes)).error, undefined);
});

t.test('what VPP refuses of its own framework is said in its words', async (t) => {
  const process = await connected(t);
  const { run } = await process();
  const port = { ...devices.iavf!, pci: '0000:99:00.0' } as UplinkDevice;
  const { outcomes } = await run(reconcile(wanted(port), []));
  const told = outcomes.flatMap(({ operation, error }) =>
    operation.object.kind === 'dev' ? [error?.message] : [],
  );
  t.same(told, ['dev_attach: invalid device id']);
  const again = await run(reconcile(wanted(devices.iavf!), []));
  t.match(
    again.outcomes.find(({ operation }) => operation.object.kind === 'dev')?.error,
    { message: /may die of it after one that it has refused/ },
    'and not asked again',
  );
});

t.test('an rdma interface that VPP says it has made, and has not, is none', async (t) => {
  const process = await connected(t);
  const { run, handles, read } = await process();
  const rdma: VppObject = { kind: 'rdma', tag, host_if_name: 'eth0', mac, ...queues };
  const { outcomes } = await run([{ action: 'add', object: rdma }]);
  t.match(outcomes[0]?.error, { message: /has made nothing/ });
  t.equal(handles.findInterface(tag), undefined);
  t.same(
    (await read()).interfaces.map(({ tag }) => tag),
    [''],
    'local0 has no tag',
  );
});

t.test('rdma by its newest message, or by the one that an older VPP has', async (t) => {
  const handles = new Handles();
  handles.made({ kind: 'existing_interface', tag }, 3);
  const rdma: VppObject = {
    kind: 'rdma',
    tag,
    host_if_name: 'eth0',
    mac,
    rx_queues: 2,
    rx_queue_size: 1024,
    tx_queue_size: 2048,
  };
  const names = (calls: readonly { readonly message: { readonly name: string } }[]) =>
    calls.map(({ message }) => message.name);
  t.same(names(programAdd(rdma, handles)), ['rdma_create_v4']);
  t.match(programAdd(rdma, handles)[0]?.fields, {
    host_if: 'eth0',
    rxq_num: 2,
    rxq_size: 1024,
    txq_size: 2048,
  });
  handles.lacks = new Set(['rdma_create_v4']);
  t.same(names(programAdd(rdma, handles)), ['rdma_create_v2']);
  t.same(names(programFollow(rdma, handles)), ['sw_interface_tag_add_del', 'sw_interface_set_mac_address']);
  t.same(names(programRemove(rdma, handles)), ['rdma_delete']);
});

t.test('an interface of a start-up file gets the MAC that the host knows, where it is another', async (t) => {
  const process = await connected(t);
  const { run, vpp } = await process();
  await run(reconcile(wanted(devices.virtio!), []));
  const made = [...vpp.state.interfaces.all].find((one) => one.tag === tag);
  const existing = { kind: 'existing_interface', tag } as const;
  t.same((await run(reconcile([existing], []))).error, undefined);
  t.equal(made?.mac, mac);
  t.same((await run(reconcile([{ ...existing, mac: '02:00:00:00:00:77' }], []))).error, undefined);
  t.equal(made?.mac, '02:00:00:00:00:77');
  await run(removal(wanted(devices.virtio!)));
});

t.test('PCI addresses as VPP’s messages have them, and back', async (t) => {
  const domain_2 = { domain: 0x0200, bus: 0x3b, slot: 0x1f, function: 7 };
  t.same(pciParts('0002:3b:1f.7'), domain_2, 'VPP takes the domain as it lies in memory');
  t.equal(pciNumber('0002:3b:1f.7'), ((7 << 29) | (0x1f << 24) | (0x3b << 16) | 2) >>> 0);
  for (const address of ['0000:00:03.0', '10ab:ff:1f.7', 'ffff:fe:1e.7']) {
    t.equal(pciOfParts(pciParts(address)), address);
    t.equal(pciOfNumber(pciNumber(address)), address);
  }
  t.throws(() => pciParts('10000:00:03.0'), RangeError);
  t.throws(() => pciNumber('eth0'), RangeError);
  t.equal(devId('0000:00:03.0'), 'pci/0000:00:03.0');
});
