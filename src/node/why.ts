/** Answers why: asks the actors that have the object, each with its time. */
import type { ActorSystem, Reply } from '../actor-system.js';
import { addressesIn, type PodWhy, parseWanted, type Why } from '../debug/why.js';
import type { PoliciesMessage, ShownInterface, ShownPolicies } from '../messages/policies.js';
import type { ServicesMessage, ServicesQuestion, ShownServices } from '../messages/services.js';
import { podInterfaceTag } from '../pod/names.js';
import { addressesOf, type PodSpec } from '../pod/spec.js';
import type { TreeNode } from '../supervision/types.js';

const describe_ms = 500;
/** Two questions, one after the other, within what the command waits. */
const show_ms = 2000;
/** Of one pod. */
const interfaces_max = 16;
const named_max = 20;

type Asked = Pick<ActorSystem, 'root' | 'tree' | 'describe' | 'ask' | 'ref'>;

/** Nothing of that name is here. The message says what is. */
export class NotHere extends Error {
  override readonly name = 'NotHere';
}

/** As a pod's actor describes itself. */
interface PodDescription {
  readonly phase: string;
  readonly spec?: PodSpec;
  readonly sw_if_index?: number;
  readonly objects?: Readonly<Record<string, string>>;
  readonly fault: string;
}

interface UplinkDescription {
  readonly uplinks: readonly {
    readonly name: string;
    readonly addresses: readonly { readonly prefix: string }[];
    readonly host_addresses: readonly string[];
  }[];
}

/** Of the object with this name, as `parseWanted` takes it. Rejects with NotHere. */
export async function whyOf(system: Asked, node_name: string, text: string): Promise<Why> {
  const wanted = parseWanted(text);
  if (wanted === undefined)
    throw new NotHere(
      `${JSON.stringify(text.slice(0, 300))} is no object: give NAMESPACE/NAME, pod/NAMESPACE/NAME, service/NAMESPACE/NAME or node`,
    );
  for (const kind of wanted.kinds) {
    const why =
      kind === 'pod'
        ? await podWhy(system, wanted.name)
        : kind === 'service'
          ? await serviceWhy(system, wanted.name)
          : await nodeWhy(system, node_name);
    if (why !== undefined) return why;
  }
  throw new NotHere(
    `there is no ${wanted.kinds.join(' or ')} ${wanted.name} on this node; its pods: ${podNames(system).join(', ') || 'none'}`,
  );
}

function podsOf(system: Asked): readonly TreeNode[] {
  return system.tree().children.find(({ name }) => name === 'cni')?.children ?? [];
}

/** `namespace/name`, without the interface. */
const podOf = ({ gauges }: TreeNode): string => String(gauges.pod ?? '').replace(/ [^ ]*$/, '');

function podNames(system: Asked): readonly string[] {
  const names = [...new Set(podsOf(system).map(podOf))].filter((name) => name !== '');
  return names.length > named_max
    ? [...names.slice(0, named_max), `and ${names.length - named_max} more`]
    : names;
}

async function podWhy(system: Asked, name: string): Promise<Why | undefined> {
  const nodes = podsOf(system).filter((node) => podOf(node) === name);
  if (nodes.length === 0) return undefined;
  const policies = await shownPolicies(system, name);
  const interfaces = await Promise.all(
    nodes.slice(0, interfaces_max).map((node) => interfaceWhy(system, node, policies)),
  );
  const addresses = [...new Set(interfaces.flatMap((each) => each.addresses))];
  const services = await servicesTo(system, new Set(addresses));
  return { kind: 'pod', name, addresses, interfaces, services };
}

async function interfaceWhy(
  system: Asked,
  { path, state, detail, gauges }: TreeNode,
  policies: Readonly<Record<string, ShownInterface>>,
): Promise<PodWhy> {
  const said = (await system
    .describe(path, describe_ms)
    .catch((error: Error) => ({ phase: 'unknown', fault: error.message }))) as PodDescription;
  const { spec } = said;
  const policed = spec && policies[podInterfaceTag(spec)];
  return {
    interface: spec?.interface_name ?? '',
    netns: spec?.netns ?? String(gauges.netns ?? ''),
    actor: path,
    state: detail === undefined ? state : `${state}: ${detail}`,
    phase: said.phase,
    fault: said.fault,
    sw_if_index: said.sw_if_index ?? -1,
    addresses: spec === undefined ? [] : addressesOf(spec),
    host_ports: (spec?.host_ports ?? []).map(
      ({ protocol, host_port, container_port }) => `${host_port}/${protocol} to ${container_port}`,
    ),
    objects: said.objects ?? {},
    ...(policed !== undefined && { policies: policed }),
  };
}

const isThere = (system: Asked, name: string): boolean =>
  system.tree().children.some((child) => child.name === name);

async function shownPolicies(system: Asked, of: string): Promise<Readonly<Record<string, ShownInterface>>> {
  if (!isThere(system, 'policies')) return {};
  // While it begins anew the rest is told all the same.
  const shown = await system
    .ask(
      system.ref<PoliciesMessage>(`${system.root.path}/policies`),
      (reply: Reply<ShownPolicies>) => ({ type: 'Show' as const, question: { of }, reply }),
      show_ms,
    )
    .catch(() => undefined);
  return shown?.interfaces ?? {};
}

async function shownServices(system: Asked, question: ServicesQuestion): Promise<ShownServices | undefined> {
  if (!isThere(system, 'services')) return undefined;
  return system.ask(
    system.ref<ServicesMessage>(`${system.root.path}/services`),
    (reply: Reply<ShownServices>) => ({ type: 'Show' as const, question, reply }),
    show_ms,
  );
}

/** `translation:` and the like is not for people. */
const vipText = (key: string): string => key.slice(key.indexOf(':') + 1);

async function servicesTo(
  system: Asked,
  addresses: ReadonlySet<string>,
): Promise<Readonly<Record<string, readonly string[]>>> {
  const shown = await shownServices(system, { dump: false });
  const leading: Record<string, readonly string[]> = {};
  for (const [name, { vips }] of Object.entries(shown?.services ?? {})) {
    const to = vips.filter(({ desired = [] }) =>
      desired.some((backend) => addressesIn(backend).some((address) => addresses.has(address))),
    );
    if (to.length > 0) leading[name] = to.slice(0, named_max).map(({ key }) => vipText(key));
  }
  const unseen = (shown?.service_count ?? 0) - Object.keys(shown?.services ?? {}).length;
  if (unseen > 0) leading[`(${unseen} more services were not looked at)`] = [];
  return leading;
}

async function serviceWhy(system: Asked, name: string): Promise<Why | undefined> {
  const shown = await shownServices(system, { service: name, dump: false });
  const service = shown?.services[name];
  if (service?.plan === undefined) return undefined;
  const addresses = [...new Set(service.vips.flatMap(({ key }) => addressesIn(vipText(key))))];
  return { kind: 'service', name, addresses, service, objects: shown?.objects ?? {} };
}

async function nodeWhy(system: Asked, name: string): Promise<Why> {
  const { uplinks } = (await system.describe(`${system.root.path}/uplink`, describe_ms)) as UplinkDescription;
  const addresses = uplinks.flatMap((uplink) => [
    ...uplink.addresses.map(({ prefix }) => prefix.replace(/\/.*$/, '')),
    ...uplink.host_addresses,
  ]);
  return {
    kind: 'node',
    name,
    addresses: [...new Set(addresses)].filter((address) => !address.toLowerCase().startsWith('fe80:')),
    uplinks: uplinks.map((uplink) => uplink.name),
  };
}
