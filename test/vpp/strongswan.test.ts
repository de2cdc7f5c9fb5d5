/**
 * The profiles that we program, with a node that nobody here wrote: strongSwan in a plain namespace, of which the API server says what it says of
 * nodes. Either end begins, keys differ, and packets pass where strongSwan begins and does ESP itself. By IPv6 it does not hear VPP, whose UDP of IKE has no checksum.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { blockOf } from '../../lab/k8s/calico-objects.js';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { findStrongswan, StrongswanNode } from '../../lab/strongswan.js';
import { needs } from '../kit/needs.js';
import { families, until } from './encryption-lab.js';
import { gate, statusOf } from './ipsec-lab.js';

const found = findRealVpp();
const swan = findStrongswan();
const skip = found.usable ? (canUseNetns() ?? (swan.usable ? undefined : swan.why)) : found.why;
const key = 'a-secret-of-all';
const down_ms = 30_000;

/** Addresses of which the other end's are the higher ones, so that VPP begins. */
const lower = { ip4: '10.0.0.5', ip6: 'fd00::5' } as const;

async function begun(test: { teardown(run: () => unknown): void }, at?: typeof lower) {
  if (!found.usable || !swan.usable) throw new Error('skipped');
  const cluster = await LabCluster.start({
    vpp: found,
    subnets: [0],
    encapsulation: 'ipip',
    environment: { ...gate, CALICOVPP_IPSEC_IKEV2_PSK: key },
  });
  const plain = new StrongswanNode(cluster.nodes, swan);
  test.teardown(async () => {
    await plain.end();
    await cluster.close();
  });
  const [node] = cluster.running as [(typeof cluster.running)[number]];
  if (at !== undefined) plain.moveTo(at);
  await plain.begin({ userspace: swan.libipsec });
  const status = async (): Promise<string> => {
    const all = await statusOf(node).catch((): Readonly<Record<string, string>> => ({}));
    return all[plain.node.ip4] ?? 'none';
  };
  const untilStatus = (wanted: RegExp): Promise<void> =>
    until(
      async () => {
        const now = await status();
        return wanted.test(now) || now;
      },
      `${wanted}`,
      2 * down_ms,
    );
  const load = (more: { readonly key?: string; readonly ike?: string } = {}): Promise<void> =>
    plain.load({ own: plain.node, other: node.topology.node, key, ...more });
  const told = (): Promise<void> =>
    cluster.server.put(
      plain.object(),
      ...families.flatMap((family) => blockOf(plain.name, plain.blocks[family])),
    );
  return { cluster, plain, node, untilStatus, load, told, pod: node.topology.pods[0]! };
}

const established = /ip4: #\d+, ESTABLISHED, IKEv2/;
/** What the product proposes. */
const ike = /AES_CBC-256\/HMAC_SHA1_96\/PRF_HMAC_SHA2_256\/MODP_2048/;
const esp = /INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-256/;
const options = needs(skip);

t.test('strongSwan begins', options(), async (t) => {
  if (!swan.usable) return;
  const { cluster, plain, node, untilStatus, load, told, pod } = await begun(t);
  await told();
  await untilStatus(/^no SA .*begins: see there/);

  await t.test('with another key', async (t) => {
    await load({ key: 'another-secret' });
    t.match(await plain.initiate('ip4'), /AUTHENTICATION_FAILED/);
    t.notMatch(await plain.sas(), /ESTABLISHED/);
    await untilStatus(/^no SA .*same key/);
    t.match(await node.cli('show ipip tunnel'), /dst 10\.0\.0\.29 /, 'VPP does not take its tunnel away');
  });

  await t.test('with what VPP does not do', async (t) => {
    await load({ ike: '3des-md5-modp1024' });
    const said = await plain.initiate('ip4');
    t.match(said, /initiate failed/);
    t.notMatch(await plain.sas(), /ESTABLISHED/);
  });

  await t.test('with the key', async (t) => {
    await load();
    const said = await plain.initiate('ip4');
    t.match(await plain.sas(), established);
    t.match(await plain.sas(), ike);
    if (swan.libipsec) t.match(await plain.sas(), esp);
    // A kernel without ESP takes no SA: VPP is told so, and has its tunnel down.
    else
      t.comment(
        `without ESP of its own: ${said
          .split('\n')
          .filter((line) => /KNL|CHILD/.test(line))
          .join('; ')}`,
      );
  });

  await t.test(
    'packets pass both ways',
    { skip: !swan.libipsec && 'needs libcharon-extra-plugins' },
    async (t) => {
      await untilStatus(/^up/);
      t.equal(await cluster.traffic.ping(pod.name, plain.pod.ip4), 3, 'to it');
      t.equal(await cluster.traffic.ping(plain.name, pod.ip4), 3, 'from it');
      t.match(await cluster.traffic.udp(pod.name, plain.name, plain.pod.ip4, { wait_ms: 5000 }), {
        answered: 5,
      });
      const transfer = await cluster.traffic.tcp(pod.name, plain.name, plain.pod.ip4, { bytes: 500_000 });
      t.match(transfer, { whole: true, receipt: { peer: pod.ip4 } });
      t.comment(`TCP: ${transfer.mbit_s} Mbit/s`);
    },
  );

  await t.test('it is gone, which is seen, and comes again', { skip: !swan.libipsec }, async (t) => {
    await plain.halt();
    const gone_ms = performance.now();
    await untilStatus(/^no SA/);
    t.comment(`seen to be gone after ${Math.round(performance.now() - gone_ms)} ms`);
    await plain.begin({ userspace: true });
    await load();
    t.match(await plain.initiate('ip4'), /initiate completed successfully/);
    await untilStatus(/^up/);
    t.equal(await cluster.traffic.ping(pod.name, plain.pod.ip4), 3);
  });

  await t.test('by IPv6 it hears nothing', async (t) => {
    t.match(await plain.initiate('ip6'), /peer not responding/);
    const counters = readFileSync(`/proc/${plain.pid}/net/snmp6`, 'utf8');
    t.ok(
      Number(/Udp6InCsumErrors\s+(\d+)/.exec(counters)?.[1]) > 0,
      'the kernel takes no UDP without a checksum',
    );
    t.match(await node.cli('show ikev2 profile'), /fd00::29/);
  });
});

t.test('VPP begins with strongSwan', options(), async (t) => {
  if (!swan.usable) return;
  const { plain, untilStatus, load, told } = await begun(t, lower);
  await load({ key: 'another-secret' });
  await told();
  await t.test('with another key', async (t) => {
    await untilStatus(/the other node has answered, and nothing came of it: .*same key/);
    t.notMatch(await plain.sas(), /ESTABLISHED/);
  });
  await t.test('with the key', async () => {
    await load();
    await until(
      async () => {
        const sas = await plain.sas();
        return (established.test(sas) && ike.test(sas) && (!swan.libipsec || esp.test(sas))) || sas;
      },
      'it does not come up',
      4 * down_ms,
    );
    // No packet passes: of the two VPP does not take it for behind NAT where it begins itself, and strongSwan's own ESP is in UDP alone.
    if (swan.libipsec) await untilStatus(/^up/);
  });
});
