/**
 * A program in a pod that speaks memif: a second VPP in the pod's namespace, which hands all that comes by it on to a namespace of its
 * own, and back. What runs there has the pod's addresses, and sends and receives by the memif alone.
 */
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { pod_mac, pod_tap_mac } from '../src/desired/pod.js';
import { memif_gateway } from '../src/desired/pod-memif.js';
import type { Family } from '../src/ip/text.js';
import { patience } from './patience.js';
import { type RealVpp, type RunningVpp, startRealVpp } from './real-vpp.js';
import { waitFor } from './running-node.js';
import type { Pod, Topology } from './topology.js';

export interface MemifClientOptions {
  readonly mode: 'ip' | 'ethernet';
  /** Of each direction. */
  readonly queues?: number;
  readonly ring_size?: number;
  /** Name of VPP's socket in the pod; that of the memif beside its first interface when absent. */
  readonly socket?: string;
  /** What the program has; those of the pod when absent. */
  readonly addresses?: Pick<Pod, 'ip4' | 'ip6'>;
}

const device = 'eth0';
const socket_id = 1;
const memif = 'memif1/0';

export class MemifClient {
  readonly #vpp: RunningVpp;
  readonly #client: Client;

  private constructor(vpp: RunningVpp, client: Client) {
    this.#vpp = vpp;
    this.#client = client;
  }

  /** `name`: of the namespace behind it, which is made where it is not there. */
  static async start(
    binary: Extract<RealVpp, { usable: true }>,
    topology: Pick<Topology, 'lab'>,
    pod: Pod,
    name: string,
    { mode, queues = 1, ring_size = 1024, socket = 'vpp/memif-eth0', addresses = pod }: MemifClientOptions,
  ): Promise<MemifClient> {
    const behind = topology.lab.namespace(name);
    const vpp = await startRealVpp(binary, { netns: pod.netns });
    const client = await connect({
      transport: unixTransport(vpp.api_socket),
      name: 'memif client',
      deadline_ms: 20_000 * patience,
    });
    const one = new MemifClient(vpp, client);
    const is_ip = mode === 'ip';
    const of_both = [
      [4, addresses.ip4, '169.254.3.1', '0.0.0.0/0', 32],
      [6, addresses.ip6, 'fd03::1', '::/0', 128],
    ] as const satisfies readonly (readonly [Family, string, string, string, number])[];
    await one.command(`create memif socket id ${socket_id} filename abstract:${socket}`);
    await one.command(
      `create interface memif id 0 socket-id ${socket_id} slave ${is_ip ? 'mode ip' : `hw-addr ${pod_mac}`} rx-queues ${queues} tx-queues ${queues} ring-size ${ring_size}`,
    );
    const tun = (await one.command(`create tap id 0 host-ns ${behind} host-if-name ${device} tun`)).trim();
    for (const each of [memif, tun]) {
      await one.command(`set interface state ${each} up`);
      await one.command(`enable ip6 interface ${each}`);
    }
    await one.command(`set interface ip address ${tun} 169.254.4.1/32`);
    for (const [family, own, at_memif, all, length] of of_both) {
      await one.command(`set interface ip address ${memif} ${at_memif}/${length}`);
      if (!is_ip) {
        await one.command(`set ip neighbor static ${memif} ${memif_gateway[family]} ${pod_tap_mac}`);
        await one.command(
          `ip route add ${memif_gateway[family]}/${length} via ${memif_gateway[family]} ${memif}`,
        );
      }
      await one.command(`ip route add ${all} via ${is_ip ? '' : `${memif_gateway[family]} `}${memif}`);
      await one.command(`ip route add ${own}/${length} via ${own} ${tun}`);
      topology.lab.run(
        name,
        'ip',
        'addr',
        'replace',
        `${own}/${length}`,
        'dev',
        device,
        ...(family === 6 ? ['nodad'] : []),
      );
      topology.lab.run(name, 'ip', `-${family}`, 'route', 'replace', 'default', 'dev', device);
    }
    return one;
  }

  /** Of VPP's command line. */
  async command(cmd: string): Promise<string> {
    return (await this.#client.request(cli_inband, { cmd })).reply;
  }

  /** Whether VPP of the node has taken it. */
  async isConnected(): Promise<boolean> {
    return (await this.command('show memif')).includes('connected');
  }

  async untilConnected(deadline_ms = 30_000 * patience): Promise<void> {
    await waitFor(
      () => this.isConnected(),
      deadline_ms,
      () => `the memif is not connected after ${deadline_ms} ms`,
    );
  }

  async stop(): Promise<void> {
    this.#client.close();
    await this.#vpp.stop();
  }
}
