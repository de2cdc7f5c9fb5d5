import { parseJson } from '../../json.js';
import { isRecord } from '../fields.js';
import { type Kind, pickFields } from './kind.js';

/** By `namespace/name`: what the annotations of pods call a network. Of others than Calico's it says nothing here. */
export interface NetworkAttachmentDefinition {
  /** That of the `Network`s which its interfaces come into; empty: none of them. */
  readonly network: string;
}

/** What a config is asked for: one with many plugins is nobody's. */
const plugins_max = 64;

export const network_attachment_definition_kind: Kind<NetworkAttachmentDefinition> = {
  name: 'NetworkAttachmentDefinition',
  plural: 'network-attachment-definitions',
  versions: ['k8s.cni.cncf.io/v1'],
  absence: 'empty',
  page: 200,
  objects_max: 20_000,
  pick: (_name, object) =>
    pickFields(object, (fields) => {
      const spec = fields.object('spec');
      const config = spec.text('config');
      // It is in a file of the node then, which nobody but the container runtime reads.
      if (config === undefined) return { network: '' };
      let json: unknown;
      try {
        json = parseJson(config);
      } catch {
        return spec.fault('config', 'is no JSON: correct it, no pod gets an interface by it');
      }
      if (!isRecord(json)) return spec.fault('config', 'is no JSON object: write a CNI configuration');
      const names = new Set(pluginsOf(json).flatMap(networkOf));
      if (names.size > 1)
        return spec.fault(
          'config',
          `names the networks ${[...names].slice(0, 4).join(', ').slice(0, 200)}: one of them is possible`,
        );
      return { network: [...names][0] ?? '' };
    }),
};

/** A configuration is a list of plugins, or is one itself. */
function pluginsOf(config: Readonly<Record<string, unknown>>): readonly unknown[] {
  const { plugins } = config;
  return Array.isArray(plugins) ? plugins.slice(0, plugins_max) : [config];
}

function networkOf(plugin: unknown): readonly string[] {
  const options = isRecord(plugin) ? plugin.dataplane_options : undefined;
  const name = isRecord(options) ? options.network_name : undefined;
  return typeof name === 'string' && name !== '' ? [name] : [];
}
