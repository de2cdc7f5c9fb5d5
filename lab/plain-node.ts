/** A node that is none of ours: a plain namespace of Linux at the bridge of the others, of which the cluster's API server says what it says of nodes. */
import { node_annotation } from '../src/calico/kinds/node.js';
import type { Json } from './k8s/store.js';
import { type Nodes, router } from './nodes.js';
import { checksumInSoftware } from './offload.js';
import type { Ends } from './topology.js';

export class PlainNode {
  readonly name = 'plain';
  readonly blocks: Required<Ends> = { ip4: '10.44.9.0/26', ip6: 'fd44::9:0/122' };
  /** Of what is a pod of it to the others. */
  readonly pod: Required<Ends> = { ip4: '10.44.9.19', ip6: 'fd44::9:19' };
  /** By which the others are told to reach it. */
  node: Required<Ends> = { ip4: '10.0.0.29', ip6: 'fd00::29' };
  protected readonly nodes: Nodes;

  constructor(nodes: Nodes) {
    this.nodes = nodes;
    const { lab } = nodes;
    lab.veth({ namespace: this.name, name: 'eth0' }, { namespace: router, name: this.name });
    lab.run(router, 'ip', 'link', 'set', this.name, 'master', 'br0');
    // A veth hands on what a device of a cable would do first: many datagrams given as one (UDP_SEGMENT), of which VPP takes the first, and their
    // checksums (docs/vpp-notes.md).
    lab.run(this.name, 'ip', 'link', 'set', 'eth0', 'gso_max_segs', '1');
    checksumInSoftware(lab.namespace(this.name), 'eth0');
    this.moveTo(this.node);
    for (const family of ['ip4', 'ip6'] as const)
      this.ip('addr', 'add', this.pod[family], 'dev', 'lo', ...(family === 'ip6' ? ['nodad'] : []));
  }

  /** It has these addresses, and no others: what it sends comes from there. */
  moveTo(node: Required<Ends>): void {
    this.ip('addr', 'flush', 'dev', 'eth0', 'scope', 'global');
    this.ip('addr', 'add', `${node.ip4}/24`, 'dev', 'eth0');
    this.ip('addr', 'add', `${node.ip6}/64`, 'dev', 'eth0', 'nodad');
    this.node = node;
  }

  /** As the others are told of it. */
  protected told(more: Readonly<Record<string, string>> = {}): Json {
    const annotations = {
      [node_annotation.ip4]: `${this.node.ip4}/24`,
      [node_annotation.ip6]: `${this.node.ip6}/64`,
      ...more,
    };
    return { apiVersion: 'v1', kind: 'Node', metadata: { name: this.name, annotations } };
  }

  protected ip(...argv: readonly string[]): void {
    const family = argv.some((word) => word.includes(':')) ? ['-6'] : [];
    this.nodes.lab.run(this.name, 'ip', ...family, ...argv);
  }
}
