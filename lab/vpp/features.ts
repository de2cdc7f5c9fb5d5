/**
 * VPP's feature arcs per interface. Features are counted: enabled twice they need to be disabled twice; disabling one that
 * is off does nothing.
 */

/** The nodes that are known here, by arc. */
const nodes: Readonly<Record<string, readonly string[]>> = {
  'ip4-unicast': [
    'ip4-not-enabled',
    'cnat-input-ip4',
    'cnat-lookup-ip4',
    'ip4-rx-urpf-loose',
    'ip4-rx-urpf-strict',
    'ip4-inacl',
    'ip4-dhcp-client-detect',
  ],
  'ip6-unicast': [
    'ip6-not-enabled',
    'cnat-input-ip6',
    'cnat-lookup-ip6',
    'ip6-rx-urpf-loose',
    'ip6-rx-urpf-strict',
    'ip6-inacl',
  ],
  'ip4-output': [
    'cnat-output-ip4',
    'cnat-writeback-ip4',
    'gso-ip4',
    'ip4-outacl',
    'ip4-tx-urpf-loose',
    'ip4-tx-urpf-strict',
  ],
  'ip6-output': [
    'cnat-output-ip6',
    'cnat-writeback-ip6',
    'gso-ip6',
    'ip6-outacl',
    'ip6-tx-urpf-loose',
    'ip6-tx-urpf-strict',
  ],
  'l2-output-ip4': ['gso-l2-ip4'],
  'l2-output-ip6': ['gso-l2-ip6'],
  arp: ['arp-proxy'],
};

/** What one switch of the API turns on: `arc/node`. */
export const bundles = {
  cnat: [
    'ip4-unicast/cnat-input-ip4',
    'ip4-unicast/cnat-lookup-ip4',
    'ip6-unicast/cnat-input-ip6',
    'ip6-unicast/cnat-lookup-ip6',
    'ip4-output/cnat-output-ip4',
    'ip4-output/cnat-writeback-ip4',
    'ip6-output/cnat-output-ip6',
    'ip6-output/cnat-writeback-ip6',
  ],
  gso: ['ip4-output/gso-ip4', 'ip6-output/gso-ip6', 'l2-output-ip4/gso-l2-ip4', 'l2-output-ip6/gso-l2-ip6'],
  proxy_arp: ['arp/arp-proxy'],
} as const;

export class Features {
  readonly #counts = new Map<number, Map<string, number>>();
  /** Per arc, the length of VPP's vector by sw_if_index. */
  readonly #lengths = new Map<string, number>();

  /** `on` false takes one count away. */
  set(sw_if_index: number, features: readonly string[], on: boolean): void {
    const counts = this.#counts.get(sw_if_index) ?? new Map<string, number>();
    this.#counts.set(sw_if_index, counts);
    for (const feature of features) {
      this.touch(sw_if_index, feature.slice(0, feature.indexOf('/')));
      const count = (counts.get(feature) ?? 0) + (on ? 1 : -1);
      if (count > 0) counts.set(feature, count);
      else counts.delete(feature);
    }
  }

  /** Something was configured on this arc of the interface. */
  touch(sw_if_index: number, arc: string): void {
    this.#lengths.set(arc, Math.max(this.#lengths.get(arc) ?? 0, sw_if_index + 1));
  }

  isOn(sw_if_index: number, feature: string): boolean {
    return (this.#counts.get(sw_if_index)?.get(feature) ?? 0) > 0;
  }

  /**
   * What feature_is_enabled answers: VPP takes its own error codes for true, so that an arc or a node that it does not have,
   * and an interface that nothing was ever configured for on that arc, count as enabled.
   */
  answer(sw_if_index: number, arc: string, node: string): boolean {
    if (!nodes[arc]?.includes(node)) return true;
    if (sw_if_index >= (this.#lengths.get(arc) ?? 0)) return true;
    return this.isOn(sw_if_index, `${arc}/${node}`);
  }

  /** What `feature_enable_disable` takes, and nothing else. */
  isKnown(arc: string, node: string): boolean {
    return nodes[arc]?.includes(node) === true;
  }

  interfaceDeleted(sw_if_index: number): void {
    this.#counts.delete(sw_if_index);
  }
}
