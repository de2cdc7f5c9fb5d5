import t from 'tap';
import {
  hash8,
  isPodInterfaceTag,
  isPodTableName,
  podInterfaceTag,
  podTableName,
} from '../../src/pod/names.js';

const cni = { netns: '/var/run/netns/cni-0f3a7c52-8b1e-4d7a-9c60-2f5d1e8b7a94', interface_name: 'eth0' };
const proc = { netns: '/proc/4711/ns/net', interface_name: 'net1' };
const long = { ...cni, interface_name: 'secondary-iface' };

// The hashes were computed with: printf %s TEXT | openssl dgst -sha512 -binary | base64 -w0 | cut -c1-8

t.test('names are those that the Go implementation gives', async (t) => {
  t.equal(hash8(''), 'z4PhNX7v');
  t.equal(podTableName(cni, 4), 'F9XQA8Ua-4-eth0-cni-0f3a7c52-8b1e-4d7a-9c60-2f5d1e8b7a94');
  t.equal(podTableName(cni, 6), 'fKbgqlw+-6-eth0-cni-0f3a7c52-8b1e-4d7a-9c60-2f5d1e8b7a94');
  t.equal(podTableName(cni, 4, 'rpf'), '2Gi5epZK-4-eth0RPF-cni-0f3a7c52-8b1e-4d7a-9c60-2f5d1e8b7a94');
  t.equal(podTableName(cni, 6, 'rpf'), 't1/GI9wq-6-eth0RPF-cni-0f3a7c52-8b1e-4d7a-9c60-2f5d1e8b7a94');
  t.equal(podInterfaceTag(cni), 'CUHuEfQW-eth0-cni-0f3a7c52-8b1e-4d7a-9c60-2f5d1e8b7a94');
  t.equal(podInterfaceTag(cni, 'memif'), 'ZedaXzBk-eth0-cni-0f3a7c52-8b1e-4d7a-9c60-2f5d1e8b7a94');
  t.equal(podTableName(proc, 4), 'N5a75CRs-4-net1-net');
  t.equal(podInterfaceTag(proc), 'FbevTQ9O-net1-net');
});

t.test('names are cut to what VPP stores', async (t) => {
  t.equal(podInterfaceTag(long), '8n35Vl+0-secondary-iface-cni-0f3a7c52-8b1e-4d7a-9c60-2f5d1e8b7a');
  t.equal(podInterfaceTag(long).length, 63);
  t.equal(
    podTableName({ ...cni, interface_name: 'secondary-ifac' }, 4, 'rpf').slice(0, 30),
    '6L5c4Q6Y-4-secondary-ifacRPF-c',
  );
  t.equal(podTableName({ ...cni, interface_name: 'secondary-ifac' }, 4, 'rpf').length, 63);
});

t.test('the tables of pods are recognised, those of the node are not', async (t) => {
  for (const pod of [cni, proc, long]) {
    for (const family of [4, 6] as const) {
      for (const role of ['pod', 'rpf'] as const) {
        t.equal(isPodTableName(podTableName(pod, family, role), family), true);
        t.equal(
          isPodTableName(podTableName(pod, family, role), family === 4 ? 6 : 4),
          false,
          'of the other family',
        );
      }
    }
  }
  for (const name of [
    '',
    'default',
    'ipv4-VRF:0',
    'punt-table-ip4',
    'punt-table-ip6',
    'calico-pods-ip4',
    'calico-pods-blue-ip4',
    'physical-net-4-ip4',
    'physical-net-blue-ip6',
    'host-tap-eth0-ip4',
    'F9XQA8Ua-4-',
    'F9XQA8U-4-eth0-x',
  ]) {
    t.equal(isPodTableName(name, 4) || isPodTableName(name, 6), false, `'${name}'`);
  }
});

t.test('an interface is a pod’s when its tag follows from its namespace and device name', async (t) => {
  t.equal(isPodInterfaceTag(podInterfaceTag(cni), cni.netns, 'eth0'), true);
  t.equal(isPodInterfaceTag(podInterfaceTag(long), long.netns, long.interface_name), true);
  t.equal(isPodInterfaceTag(podInterfaceTag(cni), cni.netns, 'eth1'), false);
  t.equal(isPodInterfaceTag(podInterfaceTag(cni), proc.netns, 'eth0'), false);
  t.equal(isPodInterfaceTag('main-eth0', cni.netns, 'eth0'), false);
  t.equal(isPodInterfaceTag('', '', ''), false);
});
