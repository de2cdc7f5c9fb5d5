/** Placeholders of templates and scripts in the configuration. */

/** What the placeholders of a template stand for. */
export interface TemplateFacts {
  /** Names of the uplinks, in the order of the configuration. */
  readonly uplinks: readonly string[];
  /** PCI address of each uplink, empty for a device that is not on a PCI bus. Absent before the devices were looked at (hook scripts). */
  readonly pci_addresses?: readonly string[];
  /** First CPU that this container may use, as text; empty where no cpuset limits it. */
  readonly first_cpu: string;
  readonly node_annotations: Readonly<Record<string, string>>;
}

/** The first number of a cpuset list such as `2-5,8`. */
export function firstCpu(cpuset: string): string {
  return /^\d+/.exec(cpuset.trim())?.[0] ?? '';
}

const placeholder =
  /__(PCI_DEVICE_ID|VPP_DATAPLANE_IF)(?:_(\d+))?__|__(CPUSET_CPUS_FIRST)__|__NODE_ANNOTATION:(.+?)__/g;

/**
 * Replaces the placeholders of a configuration, an exec file or a hook script, and ends the text with a newline.
 * A placeholder that has no value stays as it is and is named in `unknown`.
 */
export function substitute(
  template: string,
  facts: TemplateFacts,
): { readonly text: string; readonly unknown: readonly string[] } {
  const unknown: string[] = [];
  const text = template.replace(
    placeholder,
    (whole, list?: string, index?: string, cpu?: string, annotation?: string) => {
      const value = list
        ? (list === 'PCI_DEVICE_ID' ? facts.pci_addresses : facts.uplinks)?.[Number(index ?? 0)]
        : cpu
          ? facts.first_cpu
          : annotation !== undefined && Object.hasOwn(facts.node_annotations, annotation)
            ? facts.node_annotations[annotation]
            : undefined;
      if (value === undefined) unknown.push(whole);
      return value ?? whole;
    },
  );
  return { text: `${text}\n`, unknown };
}
