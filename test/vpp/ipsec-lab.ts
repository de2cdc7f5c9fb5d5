/** What tests of IPsec between real VPPs share. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, unixTransport } from 'vpp-binapi-ts';
import { ikev2_child_sa_dump, ikev2_initiate_rekey_child_sa, ikev2_sa_dump } from 'vpp-binapi-ts/ikev2';
import type { LabCluster } from '../../lab/lab-cluster.js';
import { families, type flat, type Node, podOf, settle_ms, until } from './encryption-lab.js';

export const gate = { CALICOVPP_FEATURE_GATES: '{"ipsecEnabled": true}' };

export const tunnelTo = (other: Parameters<typeof flat>[0], family: (typeof families)[number]): string =>
  `ipip-${other.node[family]}`;

/** By the other node's address. */
export const statusOf = async (node: Node): Promise<Readonly<Record<string, string>>> =>
  JSON.parse(await node.debug('/debug/sync')).sync.connectivity.ipsec;

/** Of both families, at all ends. What begins anew does so after 10 s, 20 s and 40 s. */
export function untilUp(cluster: LabCluster, ms = 4 * settle_ms): Promise<void> {
  const each_has = families.length * (cluster.running.length - 1);
  return until(
    async () => {
      const all: Readonly<Record<string, string>>[] = [];
      for (const node of cluster.running) all.push(await statusOf(node).catch(() => ({})));
      const are_up = all.every((each) => {
        const texts = Object.values(each);
        return texts.length === each_has && texts.every((text) => text.startsWith('up'));
      });
      return are_up || all;
    },
    'not up',
    ms,
  );
}

export function untilKeyOf(node: Node, key: string): Promise<void> {
  return until(async () => {
    const text = await node.cli('show ikev2 profile');
    const keys = text.match(/auth data \S+/g) ?? [];
    return (keys.length > 0 && keys.every((each) => each === `auth data ${key}`)) || keys.length;
  }, 'another key');
}

/** A ping is answered before that, and while it is not nothing is looked at. Answers the time it took, in milliseconds. */
export async function untilAnswered(
  cluster: LabCluster,
  from: Node,
  to: Node,
  ms = settle_ms,
): Promise<number> {
  const began = performance.now();
  for (const family of families) {
    const prober = cluster.traffic.probe(podOf(from).name, podOf(to)[family]);
    await prober.untilAnswered(ms);
    await prober.stop();
  }
  return Math.round(performance.now() - began);
}

async function withVpp<T>({ config }: Node, run: (vpp: Awaited<ReturnType<typeof connect>>) => Promise<T>) {
  const transport = unixTransport(config.paths.api_socket);
  const vpp = await connect({ transport, name: 'ipsec-lab', deadline_ms: 5000 });
  try {
    return await run(vpp);
  } finally {
    vpp.close();
  }
}

/** Of the keys in use at the end that has begun, as VPP names them. */
export function spisOf(node: Node): Promise<readonly number[]> {
  return withVpp(node, async (vpp) => {
    const spis: number[] = [];
    for (const { sa } of await vpp.dump(ikev2_sa_dump, {}))
      for (const { child_sa } of await vpp.dump(ikev2_child_sa_dump, { sa_index: sa.sa_index }))
        spis.push(child_sa.i_spi);
    return spis.sort();
  });
}

/** All tunnels of the end that has begun get other keys, as they do every hour. */
export async function rekey(node: Node): Promise<void> {
  const spis = await spisOf(node);
  await withVpp(node, async (vpp) => {
    for (const spi of spis) {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(spi);
      await vpp.request(ikev2_initiate_rekey_child_sa, { ispi: bytes.readUInt32LE() });
    }
  });
}

/** A program that starts VPP as on a machine with 16 CPUs: it wants one for each of its threads, and here they share what there is (`use-pthreads`). */
export function onManyCpus(binary: string, directory: string): string {
  const [online, program] = [join(directory, 'online'), join(directory, 'vpp')];
  writeFileSync(online, '0-15\n');
  const script = `mount --bind ${online} /sys/devices/system/cpu/online && exec ${binary} "$@"`;
  writeFileSync(program, `#!/bin/sh\nexec unshare --mount --propagation slave sh -c '${script}' sh "$@"\n`);
  chmodSync(program, 0o755);
  return program;
}
