import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { type CalicoVersion, network_crds } from '../../lab/k8s/calico-crds.js';
import { calico_versions, type Kind } from '../../src/calico/kinds/kind.js';
import { kinds } from '../../src/calico/kinds/kinds.js';
import { secretKind } from '../../src/calico/kinds/secret.js';
import { nodeObject } from '../../src/k8s/node-object.js';
import { startLab, until } from './k8s-lab.js';

const manifest = fileURLToPath(new URL('../../../deploy/kubernetes/rbac.yaml', import.meta.url));
const namespace = 'calico-vpp-dataplane';

/** Rights as `verb group/resource`, and `… in <namespace>` of a Role. As the manifest spells its rules. */
function granted(text: string): string[] {
  const words = (list: string | undefined) =>
    (list ?? '').split(',').map((word) => word.trim().replaceAll('"', ''));
  return text.split(/^---$/m).flatMap((document) => {
    const [, kind = ''] = /^kind: (\w+)$/m.exec(document) ?? [];
    const [, of] = /^ {2}namespace: (\S+)$/m.exec(document) ?? [];
    const where = kind === 'Role' ? ` in ${of}` : '';
    const rules = document.matchAll(
      /^ {2}- apiGroups: \[(.*?)\]\n {4}resources: \[(.*?)\]\n {4}verbs: \[(.*?)\]$/gm,
    );
    return [...rules].flatMap(([, groups, resources, verbs]) =>
      words(groups).flatMap((group) =>
        words(resources).flatMap((resource) =>
          words(verbs).map((verb) => `${verb} ${group}/${resource}${where}`),
        ),
      ),
    );
  });
}

/** The rights that these requests need; asking what the API has needs none. */
function needed(
  requests: readonly { readonly verb: string; readonly method: string; readonly path: string }[],
): string[] {
  return requests.flatMap(({ verb, method, path }) => {
    if (verb === 'discovery') return [];
    const [, group_version, of, resource, rest] =
      /^\/(?:api|apis)\/((?:[^/]+\/)?v\d)\/(?:namespaces\/([^/]+)\/)?([^/]+)(.*)$/.exec(path) ?? [];
    const group = group_version?.includes('/') ? group_version.split('/')[0] : '';
    const part = rest?.endsWith('/status') ? '/status' : '';
    const right = verb === 'write' ? method.toLowerCase() : verb;
    return [`${right} ${group}/${resource}${part}${of === undefined ? '' : ` in ${of}`}`];
  });
}

/** All that the product asks an API server for, with Calico's objects in this version. */
async function asked(t: Test, version: CalicoVersion): Promise<string[]> {
  const { server, client, clock, log, reflect } = await startLab(t, { versions: [version] });
  for (const definition of network_crds) server.put(definition);
  server.put({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' } });
  const node = nodeObject({ client, clock, log, node_name: 'a', random: () => 0 });
  await node.nodeAnnotations();
  await node.publishNodeAddresses({ ip4: '10.0.0.2/24' }, new AbortController().signal, () => undefined);
  const all = [...Object.values(kinds), secretKind(namespace, 'bgp')] as readonly Kind<unknown>[];
  for (const kind of all) reflect(kind);
  await until('a watch of each', () => server.watchers.length === all.length);
  return needed(server.requests);
}

t.test('the roles give what is asked for, and nothing else', async (t) => {
  const used = (await Promise.all(calico_versions.map((version) => asked(t, version)))).flat();
  const rights = granted(readFileSync(manifest, 'utf8'));
  t.ok(rights.length > 30);
  t.strictSame(rights.slice().sort(), [...new Set(used)].sort());
});

t.test('the pod may be who it is: its account, bound to both roles, with its token', async (t) => {
  const text = readFileSync(manifest, 'utf8');
  const bindings = text.split(/^---$/m).filter((document) => /^kind: (Cluster)?RoleBinding$/m.test(document));
  t.equal(bindings.length, 2);
  for (const binding of bindings)
    t.match(binding, /- \{ kind: ServiceAccount, name: calico-vpp-node, namespace: calico-vpp-dataplane \}/);
  const pod = readFileSync(manifest.replace('rbac', 'calico-vpp-node'), 'utf8');
  t.match(pod, / serviceAccountName: calico-vpp-node\n +automountServiceAccountToken: true\n/);
});
