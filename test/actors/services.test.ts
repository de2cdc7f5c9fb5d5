import fc from 'fast-check';
import t from 'tap';
import type { LifeRef } from '../../src/actor-system.js';
import {
  type ServicesReport,
  type ServicesSettings,
  services_settings_default,
  servicesActor,
} from '../../src/actors/services.js';
import type { Endpoint, EndpointSlice } from '../../src/calico/kinds/endpoint-slice.js';
import type { Service, ServicePort } from '../../src/calico/kinds/service.js';
import type { HealthPort, HostVip } from '../../src/desired/services/plan.js';
import type { AnyChange, ClusterMessage, KindName } from '../../src/messages/cluster.js';
import type { InPlace, NodeFacts, NodeReady, SubscribeEarly } from '../../src/messages/node.js';
import type {
  ServicesMessage,
  ServicesProgrammed,
  ServicesQuestion,
  ShownServices,
} from '../../src/messages/services.js';
import type { VppConnectionMessage } from '../../src/messages/vpp.js';
import type { Translation } from '../../src/objects/cnat.js';
import { keyOf, type VppObject } from '../../src/objects/object.js';
import type { Operation, Outcome } from '../../src/reconcile/operation.js';
import { TranslationOwners } from '../../src/reconcile/translation-owners.js';
import { type ActorKit, actorKit, type KitMailbox, type Teardown } from '../kit/actor-kit.js';
import { StrictVpp } from '../reconcile/strict-vpp.js';

type Transact = Extract<VppConnectionMessage, { type: 'Transact' }>;
type Read = Extract<VppConnectionMessage, { type: 'Read' }>;

const all_kinds: readonly KindName[] = ['Service', 'EndpointSlice', 'ServiceCIDR', 'Node', 'IPPool'];

const settings: ServicesSettings = {
  ...services_settings_default,
  node_name: 'own',
  service_prefixes: ['10.96.0.0/16'],
};

const pod = { by: 'pods', id: 'p', name: 'pod default/p eth0' } as const;

function servicePort(port: number, changes: Partial<ServicePort> = {}): ServicePort {
  return { name: '', protocol: 'TCP', port, ...changes };
}

function service(cluster_ip: string, changes: Partial<Service> = {}): Service {
  return {
    type: 'ClusterIP',
    cluster_ips: [cluster_ip],
    external_ips: [],
    load_balancer_ips: [],
    ports: [servicePort(80)],
    external_policy: 'Cluster',
    internal_policy: 'Cluster',
    source_prefixes: [],
    hash: [],
    ...changes,
  };
}

/** Its endpoints are 10.44.0.N, or with changes of their own. */
function slice(
  of: string,
  ends: readonly (number | Endpoint)[],
  changes: Partial<EndpointSlice> = {},
): EndpointSlice {
  return {
    service: of,
    family: 4,
    endpoints: ends.map((end) => (typeof end === 'number' ? { address: `10.44.0.${end}` } : end)),
    ports: [{ name: '', protocol: 'TCP', port: 8080 }],
    ...changes,
  };
}

class Lab {
  kit!: ActorKit<ServicesMessage>;
  vpp = new StrictVpp();
  /** Told by a reading beside what there is. */
  hidden: readonly VppObject[] = [];
  generation = 1;
  vpp_name = 'one';
  translations = new TranslationOwners(['pods', 'services']);
  report!: () => ServicesReport;
  ready_now: { ok: boolean; reason: string } = { ok: false, reason: '' };
  readonly hosts: (readonly HostVip[])[] = [];
  readonly healths: (readonly HealthPort[])[] = [];
  readonly programming: [boolean, boolean][] = [];
  readonly programs: [string, boolean][] = [];
  readonly eligible: boolean[] = [];
  readonly probes: { address: string; resolve(): void; reject(error: Error): void }[] = [];
  /** Everything that was done, in order. */
  readonly done: string[] = [];
  readonly transactions: Transact[] = [];
  reads = 0;
  holding = false;
  /** The next transaction tells of it. */
  lost_state = false;
  refuses: (operation: Operation) => boolean = () => false;
  #held: (Transact | Read)[] = [];

  static async start(t: Teardown, changes: Partial<ServicesSettings> = {}, prepare?: (lab: Lab) => void) {
    const lab = new Lab();
    prepare?.(lab);
    lab.kit = await actorKit<ServicesMessage>(t, (kit) => {
      const vpp = kit.mailbox<VppConnectionMessage>('vpp');
      vpp.on('Transact', (message) => lab.#take(message));
      vpp.on('Read', (message) => lab.#take(message));
      return servicesActor(
        {
          vpp: vpp.ref,
          uplink: kit.mailbox<SubscribeEarly | InPlace>('uplink').ref,
          cluster: kit.mailbox<ClusterMessage>('cluster').ref,
          translations: lab.translations,
          names: () => undefined,
          host: {
            translate: (vips) => lab.hosts.push(vips),
            serveHealth: (ports) => lab.healths.push(ports),
            programs: (vpp, has_all) => lab.programs.push([vpp, has_all]),
            eligible: (is_eligible) => lab.eligible.push(is_eligible),
            programming: (is_pending, is_progress) => lab.programming.push([is_pending, is_progress]),
          },
          probe: ({ address }) =>
            new Promise((resolve, reject) => lab.probes.push({ address, resolve, reject })),
          ready: (ok, reason) => {
            lab.ready_now = { ok, reason };
          },
          report: (ask) => {
            lab.report = ask;
          },
        },
        { ...settings, ...changes },
      );
    });
    return lab;
  }

  /** A node whose pods have said what they have, and a cluster that has told all. */
  static async synced(
    t: Teardown,
    objects: Objects = {},
    changes: Partial<ServicesSettings> = {},
    prepare?: (lab: Lab) => void,
  ): Promise<Lab> {
    const lab = await Lab.start(t, changes, prepare);
    lab.translations.hasSpoken('pods');
    await lab.ready();
    await lab.tellAll(objects);
    lab.takeDone();
    lab.transactions.length = 0;
    return lab;
  }

  async ready(changes: Partial<NodeReady> = {}): Promise<void> {
    await this.kit.tell({ type: 'NodeReady', ...this.#facts(), ...changes });
  }

  /** VPP is there, and Linux has the uplinks. */
  async prepared(round: number): Promise<void> {
    await this.kit.tell({ type: 'NodePrepared', round, ...this.#facts() });
  }

  #facts(): NodeFacts {
    return {
      generation: this.generation,
      vpp: this.vpp_name,
      workers: 0,
      mtu: 1500,
      node: { ip4: '10.0.0.1' },
      main_uplink: 'main-eth0',
      subnets: { ip4: '10.0.0.0/24' },
      redirects: [],
      buffers_taken: 0,
    };
  }

  async lost(): Promise<void> {
    await this.kit.tell({ type: 'NodeLost', generation: this.generation, reason: 'lost' });
    this.generation += 1;
    this.#held = [];
    this.holding = false;
  }

  async told(kind: KindName, changed: Readonly<Record<string, unknown>> = {}, synced = true): Promise<void> {
    const change = { kind, synced, changed: new Map(Object.entries(changed)) } as unknown as AnyChange;
    await this.kit.ask((reply) => ({ type: 'ClusterChange', change, reply }));
    await this.kit.settle();
  }

  async tellAll({ services = {}, slices = {} }: Objects, but: readonly KindName[] = []): Promise<void> {
    for (const kind of all_kinds) {
      if (but.includes(kind)) continue;
      await this.told(kind, kind === 'Service' ? services : kind === 'EndpointSlice' ? slices : {});
    }
  }

  /** In one turn: the actor sees all of it before it goes on. */
  async burst(
    ...changes: readonly (readonly [KindName, Readonly<Record<string, unknown>>])[]
  ): Promise<void> {
    await Promise.all(
      changes.map(([kind, changed]) => {
        const change = {
          kind,
          synced: true,
          changed: new Map(Object.entries(changed)),
        } as unknown as AnyChange;
        return this.kit.ask((reply) => ({ type: 'ClusterChange', change, reply }));
      }),
    );
    await this.kit.settle();
  }

  get cluster(): KitMailbox<ClusterMessage> {
    return this.kit.mailbox('cluster');
  }

  get gauges() {
    return this.kit.node().gauges;
  }

  /** Translations of VPP, each with its back ends: `tcp/10.96.0.1/80`. */
  get shown(): Readonly<Record<string, string>> {
    const all = this.vpp.objects.filter((object): object is Translation => object.kind === 'translation');
    return Object.fromEntries(
      all
        .map((each): [string, string] => [
          keyOf(each).slice('translation:'.length),
          each.backends.map(({ address, port }) => `${address} ${port}`).join(', '),
        ])
        .sort(),
    );
  }

  takeDone(): string[] {
    return this.done.splice(0).filter((text) => text.includes(' translation:'));
  }

  async subscribe(): Promise<KitMailbox<ServicesProgrammed>> {
    const bgp = this.kit.mailbox<ServicesProgrammed>('bgp');
    await this.kit.settle();
    await this.kit.tell({
      type: 'SubscribeProgrammed',
      subscriber: bgp.ref as unknown as LifeRef<ServicesProgrammed>,
    });
    return bgp;
  }

  show(question: Partial<ServicesQuestion> = {}): Promise<ShownServices> {
    return this.kit.ask((reply) => ({ type: 'Show', question: { dump: false, ...question }, reply }));
  }

  async answer(): Promise<void> {
    this.holding = false;
    for (const message of this.#held.splice(0)) this.#serve(message);
    await this.kit.settle();
  }

  /** Another VPP, which has nothing. */
  renew(): void {
    this.vpp = new StrictVpp();
    this.vpp_name += "'";
  }

  /** Somebody has made it hold these translations and no others. */
  setTranslations(...all: readonly VppObject[]): void {
    this.vpp = new StrictVpp([...this.vpp.objects.filter(({ kind }) => kind !== 'translation'), ...all]);
  }

  async pass(ms: number): Promise<void> {
    await this.kit.clock.advance(ms);
    await this.kit.settle();
  }

  #take(message: Transact | Read): void {
    if (message.type === 'Transact') this.transactions.push(message);
    else this.reads += 1;
    if (this.holding) this.#held.push(message);
    else this.#serve(message);
  }

  #serve(message: Transact | Read): void {
    if (message.type === 'Read') return this.#read(message);
    const { transaction, reply } = message;
    if (transaction.generation !== this.generation) return reply.reject(new Error('stale generation'));
    const outcomes: Outcome[] = transaction.operations.map((operation) => {
      const { action, object } = operation;
      if (this.refuses(operation)) return { operation, error: new Error('refused') };
      if (object.kind === 'translation' && action === 'add' && object.backends.length === 0)
        throw new Error('VPP dies of a translation without back ends');
      this.vpp.run([operation]);
      this.done.push(`${action} ${keyOf(object)}`);
      return { operation };
    });
    const { lost_state } = this;
    this.lost_state = false;
    reply.resolve({ outcomes, interfaces: new Map(), ...(lost_state && { lost_state: true as const }) });
  }

  #read({ scopes, take, reply }: Read): void {
    const what = scopes.join();
    if (what !== 'services,hidden' && what !== 'services') throw new Error(`read ${what}`);
    const hidden = what === 'services' ? [] : this.hidden;
    for (const object of [...this.vpp.objects, ...hidden]) take?.(structuredClone(object));
    reply.resolve({ objects: [], unsure: new Set(), interfaces: [] });
  }
}

interface Objects {
  readonly services?: Readonly<Record<string, Service>>;
  readonly slices?: Readonly<Record<string, EndpointSlice>>;
}

const web = 'default/web';
const one_service: Objects = {
  services: { [web]: service('10.96.0.1') },
  slices: { 'default/web-1': slice(web, [1, 2]) },
};
const web_vip = 'tcp/10.96.0.1/80';
const web_key = `translation:${web_vip}`;
const web_shown = { [web_vip]: '10.44.0.1 8080, 10.44.0.2 8080' };

/** Left by an earlier life. */
function translation(address: string, port: number, backend: string): VppObject {
  return {
    kind: 'translation',
    address,
    port,
    protocol: 'tcp',
    backends: [{ address: backend, port: 8080 }],
  };
}

t.test('the first sync is one transaction, once services and endpoints are known', async (t) => {
  const lab = await Lab.start(t);
  t.match(await lab.kit.mailbox<SubscribeEarly | InPlace>('uplink').messages(), [{ type: 'SubscribeEarly' }]);
  t.match(await lab.cluster.messages(), [{ type: 'Subscribe', kinds: all_kinds }]);
  await lab.ready();
  await lab.told('EndpointSlice', { a: slice(web, [1]), b: slice(web, [2]) });
  await lab.told('Service', one_service.services, false);
  t.strictSame(lab.shown, {}, 'a service without some of its slices would have a part of its back ends');
  await lab.told('Service');
  t.strictSame(lab.shown, web_shown);
  t.equal(lab.transactions.length, 1);
  t.match(lab.transactions[0], {
    transaction: { owner: 'services', urgency: 'bulk', on_error: 'continue', generation: 1 },
  });
});

t.test('what nobody serves is refused by a route, but in no prefix that an uplink is on', async (t) => {
  const refused = () =>
    lab.vpp.objects.flatMap((object) =>
      object.kind === 'route' && object.paths[0]?.via === 'unreachable' ? [object.prefix] : [],
    );
  const lab = await Lab.synced(t, {
    services: {
      [web]: { ...service('10.96.0.1'), external_ips: ['203.0.113.1', '10.0.0.254', '10.9.0.254'] },
    },
  });
  t.strictSame(
    refused().filter((prefix) => prefix.endsWith('254/32')),
    ['10.9.0.254/32'],
  );
  await lab.ready({ on_link: ['10.0.0.0/24', '10.9.0.0/24'] });
  await lab.kit.settle();
  t.strictSame(
    refused().filter((prefix) => /^(203|10\.9\.)/.test(prefix)),
    ['203.0.113.1/32'],
  );
  t.match(lab.shown, { 'tcp/10.9.0.254/80': '192.0.0.8 9', 'tcp/10.0.0.254/80': '192.0.0.8 9' });
});

t.test('a change costs what it touches, and what changes nothing costs nothing', async (t) => {
  const lab = await Lab.synced(t, {
    services: { [web]: service('10.96.0.1'), 'default/b': service('10.96.0.2') },
    slices: { 'default/web-1': slice(web, [1, 2]), 'default/b-1': slice('default/b', [3]) },
  });
  await lab.told('EndpointSlice', { 'default/web-1': slice(web, [1]) });
  t.strictSame(lab.takeDone(), [`add ${web_key}`]);
  await lab.told('EndpointSlice', { 'default/web-1': slice(web, [1], { changed_ms: 5 }) });
  await lab.told('Service', { [web]: service('10.96.0.1', { created_ms: 3 }) });
  t.strictSame(lab.takeDone(), []);
  t.equal(lab.transactions.length, 1);
});

t.test('in a burst what comes and grows is first, then what shrinks, then what goes', async (t) => {
  const names = ['a', 'b', 'c', 'd'].map((name) => `default/${name}`);
  const lab = await Lab.synced(t, {
    services: Object.fromEntries(names.slice(0, 3).map((name, at) => [name, service(`10.96.0.${at}`)])),
    slices: Object.fromEntries(names.slice(0, 3).map((name) => [name, slice(name, [1, 2])])),
  });
  const [a, b, c, d] = names as [string, string, string, string];
  await lab.burst(
    ['Service', { [a]: undefined }],
    ['EndpointSlice', { [b]: slice(b, [1]), [c]: slice(c, [1, 2, 3]) }],
    ['EndpointSlice', { [d]: slice(d, [4]) }],
    ['Service', { [d]: service('10.96.0.9') }],
  );
  const done = lab.takeDone();
  t.strictSame(done.slice(0, 2).sort(), [
    'add translation:tcp/10.96.0.2/80',
    'add translation:tcp/10.96.0.9/80',
  ]);
  t.strictSame(done.slice(2), ['add translation:tcp/10.96.0.1/80', 'remove translation:tcp/10.96.0.0/80']);
  t.ok(lab.transactions.length <= 2, 'in the same turn');
});

t.test('a service that takes the address of one that goes leaves no gap', async (t) => {
  const lab = await Lab.synced(t, one_service);
  await lab.burst(
    ['EndpointSlice', { x: slice('default/next', [7]) }],
    ['Service', { [web]: undefined, 'default/next': service('10.96.0.1') }],
  );
  t.strictSame(lab.takeDone(), [`add ${web_key}`], 'an update, and no removal');
  t.strictSame(lab.shown, { [web_vip]: '10.44.0.7 8080' });
});

t.test('what an earlier life has left goes when all have said what is theirs, and no sooner', async (t) => {
  const left = translation('10.96.0.99', 80, '10.44.0.9');
  const host_port = translation('10.0.0.1', 8081, '10.44.0.5');
  const prepare = (lab: Lab): void => {
    lab.vpp = new StrictVpp([
      left,
      host_port,
      translation('10.96.0.1', 80, '10.44.0.1'),
      translation('10.96.0.2', 80, '10.44.0.1'),
    ]);
  };
  const lab = await Lab.start(t, {}, prepare);
  await lab.ready();
  await lab.tellAll(
    {
      services: { [web]: service('10.96.0.1'), 'default/b': service('10.96.0.2') },
      slices: { a: slice(web, [1, 2]), b: slice('default/b', [1]) },
    },
    ['Node'],
  );
  t.strictSame(lab.takeDone(), [`add ${web_key}`], 'what is as it should be is left alone');
  t.ok(keyOf(left).slice('translation:'.length) in lab.shown, 'nodes are not known yet');
  await lab.told('Node');
  t.notOk(lab.translations.isComplete);
  t.ok('tcp/10.96.0.99/80' in lab.shown, 'nor what pods have');
  lab.translations.claim(pod, keyOf(host_port));
  lab.translations.hasSpoken('pods');
  await lab.kit.settle();
  t.strictSame(lab.takeDone(), ['remove translation:tcp/10.96.0.99/80']);
  t.equal(lab.shown['tcp/10.0.0.1/8081'], '10.44.0.5 8080', 'a host port is the pod’s');
  lab.translations.release(pod);
  lab.vpp.run([{ action: 'remove', object: host_port }]);
  await lab.pass(settings.audit_ms);
  await lab.pass(settings.audit_again_ms);
  t.strictSame(lab.takeDone(), [], 'and nobody gives it back when the pod is gone');
});

t.test('another VPP gets all of it, and nobody asks the cluster', async (t) => {
  const lab = await Lab.synced(t, one_service);
  await lab.cluster.messages();
  await lab.lost();
  lab.renew();
  await lab.told('EndpointSlice', { 'default/web-1': slice(web, [3]) });
  await lab.ready();
  t.strictSame(lab.shown, { [web_vip]: '10.44.0.3 8080' }, 'in its present version');
  await lab.cluster.none();
  await lab.lost();
  lab.takeDone();
  await lab.ready();
  t.strictSame(lab.takeDone(), [], 'over another connection the same VPP has it already');
});

t.test('a crash of the actor costs VPP nothing', async (t) => {
  const lab = await Lab.synced(t, one_service);
  await lab.kit.crash(new Error('defect'));
  await lab.pass(1000);
  await lab.ready();
  t.strictSame(lab.shown, web_shown);
  t.notOk(lab.translations.isComplete, 'what it has is to be told anew');
  await lab.tellAll(one_service);
  t.strictSame(lab.takeDone(), []);
  t.ok(lab.translations.isComplete);
});

const node_port: Objects = {
  services: {
    [web]: service('10.96.0.1', { type: 'NodePort', ports: [servicePort(80, { node_port: 30080 })] }),
  },
  slices: { a: slice(web, [1]) },
};
const node_port_key = 'translation:tcp/10.0.0.1/30080';

t.test('a node port that a pod has as host port is the service’s once the pod lets it go', async (t) => {
  const lab = await Lab.synced(t, node_port, {}, ({ translations }) => {
    translations.claim(pod, node_port_key);
  });
  t.strictSame(Object.keys(lab.shown), [web_vip]);
  t.match(lab.report().faults, {
    'Service default/web': [
      'tcp 10.0.0.1 30080 is the host port of pod default/p eth0: delete that pod, or use another node port',
    ],
  });
  t.equal(lab.gauges.refused, 1);
  t.match(await lab.show({ service: web }), {
    services: { [web]: { vips: [{}, { key: node_port_key, state: /blocked.*pod default\/p/ }] } },
  });
  lab.translations.release(pod);
  await lab.kit.settle();
  t.strictSame(lab.takeDone(), [`add ${node_port_key}`]);
  t.equal(lab.gauges.refused, 0);
  t.strictSame(lab.report().faults, {});
});

t.test('a service for a network that is not there is told until the network comes', async (t) => {
  const lab = await Lab.synced(t, {
    ...one_service,
    services: { [web]: service('10.96.0.1', { network: 'red' }) },
  });
  t.strictSame(lab.report().faults, {}, 'which there are is not known');
  await lab.ready({ networks: [] });
  await lab.kit.settle();
  t.match(lab.report().faults, { 'Service default/web': [/for the network red, .* create a Network/] });
  t.strictSame([lab.takeDone(), lab.shown], [[], web_shown], 'it is served as before');
  const underlay = { table_id: 0, mtu: 1500 };
  await lab.ready({ networks: [{ name: 'red', vni: 7, physical_network: '', underlay }] });
  await lab.kit.settle();
  t.strictSame(lab.report(), { ...lab.report(), faults: {}, faulty_count: 0 });
});

t.test('a node port is nobody’s again when VPP has it no more', async (t) => {
  const lab = await Lab.synced(t, node_port);
  t.match(lab.translations.claim(pod, node_port_key), { by: 'services', name: 'Service default/web' });
  lab.holding = true;
  await lab.told('Service', { [web]: service('10.96.0.1') });
  t.ok(lab.translations.claim(pod, node_port_key), 'it is on its way out');
  await lab.answer();
  t.equal(lab.translations.claim(pod, node_port_key), undefined);
  t.match(lab.takeDone(), [`remove ${node_port_key}`]);
});

t.test('node ports are served on the node’s addresses, also when these change', async (t) => {
  const lab = await Lab.synced(t, node_port);
  await lab.ready({ node: { ip4: '10.0.0.7' } });
  t.strictSame(lab.takeDone(), ['add translation:tcp/10.0.0.7/30080', `remove ${node_port_key}`]);
});

t.test('what VPP refuses costs no other, is told, and tried again', async (t) => {
  const lab = await Lab.start(t);
  lab.refuses = ({ object }) => keyOf(object) === web_key;
  lab.translations.hasSpoken('pods');
  await lab.ready();
  await lab.tellAll({
    services: { [web]: service('10.96.0.1'), 'default/b': service('10.96.0.2') },
    slices: { a: slice(web, [1, 2]), b: slice('default/b', [1]) },
  });
  t.strictSame(Object.keys(lab.shown), ['tcp/10.96.0.2/80']);
  t.match(lab.report(), { refused: { [web_key]: 'refused' }, refused_count: 1 });
  t.match(await lab.show({ service: web }), {
    services: {
      [web]: { vips: [{ state: 'refused: refused', desired: ['10.44.0.1 8080', '10.44.0.2 8080'] }] },
    },
  });
  lab.refuses = () => false;
  await lab.pass(settings.writer.retry_ms);
  t.equal(lab.gauges.refused, 0);
  t.ok(web_vip in lab.shown);
});

const external: Objects = {
  services: { [web]: service('10.96.0.1', { external_ips: ['192.0.2.10'] }) },
  slices: { a: slice(web, [1]) },
};

t.test(
  'who announces addresses learns of their end a second before it, and of their beginning after',
  async (t) => {
    const lab = await Lab.synced(t, external);
    const bgp = await lab.subscribe();
    t.strictSame(
      (await bgp.message('ServicesProgrammed')).changed,
      new Map([
        ['10.96.0.1', true],
        ['192.0.2.10', true],
      ]),
    );
    await lab.told('Service', { [web]: service('10.96.0.1') });
    const { changed, whole } = await bgp.message('ServicesProgrammed');
    t.strictSame([...changed, whole], [['192.0.2.10', false], false]);
    t.strictSame(lab.takeDone(), [], 'packets that come meanwhile are still served');
    await lab.pass(settings.writer.drain_ms - 1);
    t.strictSame(lab.takeDone(), []);
    await lab.pass(1);
    t.strictSame(lab.takeDone(), ['remove translation:tcp/192.0.2.10/80']);
    await bgp.messages();

    lab.holding = true;
    await lab.told('Service', external.services);
    await bgp.none();
    await lab.answer();
    t.strictSame([...(await bgp.message('ServicesProgrammed')).changed], [['192.0.2.10', true]]);

    await lab.told('Service', { [web]: service('10.96.0.1') });
    await lab.told('Service', external.services);
    await lab.pass(2 * settings.writer.drain_ms);
    t.strictSame(
      (await bgp.messages()).map(({ changed: each }) => [...each]),
      [[['192.0.2.10', false]], [['192.0.2.10', true]]],
      'one that is back in time never goes',
    );
    await lab.lost();
    t.strictSame(
      (await bgp.message('ServicesProgrammed')).changed.get('192.0.2.10'),
      false,
      'nor with a VPP that is gone',
    );
  },
);

t.test('before VPP is read nobody is told that it serves nothing', async (t) => {
  const lab = await Lab.synced(t, external, {}, (each) => {
    each.holding = true;
  });
  const bgp = await lab.subscribe();
  t.match(await bgp.message('ServicesProgrammed'), { whole: true, known: false, changed: new Map() });
  await lab.answer();
  t.ok((await bgp.messages()).at(-1)?.known);
  await lab.lost();
  await bgp.messages();
  const again = await lab.subscribe();
  t.ok((await again.message('ServicesProgrammed')).known, 'a VPP that is gone serves nothing');
});

t.test('what is not announced goes at once', async (t) => {
  const lab = await Lab.synced(t, external);
  await lab.told('Service', { [web]: undefined });
  t.strictSame(lab.takeDone().length, 2, 'nobody announces addresses here');
});

t.test('a VPP that shows it has lost what it had gets all of it again', async (t) => {
  const lab = await Lab.synced(t, {
    services: { ...one_service.services, 'default/other': service('10.96.0.2') },
    slices: { ...one_service.slices, b: slice('default/other', [7]) },
  });
  const before = lab.shown;
  lab.setTranslations();
  lab.lost_state = true;
  await lab.told('EndpointSlice', { b: slice('default/other', [8]) });
  t.strictSame(lab.shown, { ...before, 'tcp/10.96.0.2/80': '10.44.0.8 8080' });
});

t.test('what announces addresses hears of what VPP has lost, before it has it again', async (t) => {
  const lab = await Lab.synced(t, {
    services: { ...external.services, 'default/other': service('10.96.0.2') },
    slices: { ...external.slices, b: slice('default/other', [7]) },
  });
  const bgp = await lab.subscribe();
  t.equal((await bgp.message('ServicesProgrammed')).changed.get('192.0.2.10'), true);
  lab.setTranslations();
  lab.lost_state = true;
  await lab.told('EndpointSlice', { b: slice('default/other', [8]) });
  const told = (await bgp.messages()).flatMap(({ changed }) => changed.get('192.0.2.10') ?? []);
  t.strictSame(told, [false, true]);
});

t.test('what may be behind the route of another is removed once, however often VPP is read', async (t) => {
  const hidden: VppObject = {
    kind: 'route',
    source: 'services',
    table_id: 0,
    prefix: '10.44.0.1/32',
    paths: [],
  };
  const lab = await Lab.synced(t, one_service, {}, (own) => {
    own.hidden = [hidden];
  });
  const removals = (): number =>
    lab.done.splice(0).filter((text) => text === `remove ${keyOf(hidden)}`).length;
  t.equal(removals(), 0, 'and as it was told: that was before');
  for (const port of [8, 9]) {
    lab.lost_state = true;
    const { reads } = lab;
    await lab.told('EndpointSlice', { 'default/web-1': slice(web, [port]) });
    t.equal(lab.reads, reads + 1);
    t.equal(removals(), 0);
  }
  await lab.lost();
  await lab.ready();
  t.equal(removals(), 1, 'over another connection it may be there again');
});

t.test('while nobody programs, load balancers are told', async (t) => {
  const lab = await Lab.synced(t, one_service);
  t.equal(lab.programming.at(-1)?.[0], false);
  await lab.kit.crash(new Error('defect'));
  t.strictSame(lab.programming.at(-1), [true, false], 'whatever comes of the next life');
  await lab.pass(1000);
  await lab.ready();
  await lab.tellAll(one_service);
  t.equal(lab.programming.at(-1)?.[0], false);
});

t.test('a difference that is seen twice is put right, one that is seen once is not', async (t) => {
  const lab = await Lab.synced(t, one_service);
  await lab.pass(settings.audit_ms);
  t.equal(lab.gauges.drift, 0);
  lab.setTranslations(translation('10.96.0.1', 80, '10.44.0.66'), translation('10.96.9.9', 80, '10.44.0.1'));
  await lab.pass(settings.audit_ms);
  t.equal(lab.gauges.drift, 2);
  t.strictSame(lab.takeDone(), []);
  await lab.pass(settings.audit_again_ms);
  t.strictSame(lab.takeDone().sort(), [`add ${web_key}`, 'remove translation:tcp/10.96.9.9/80']);
  t.strictSame(lab.shown, web_shown);
  await lab.pass(settings.audit_ms);
  t.equal(lab.gauges.drift, 0);

  lab.setTranslations();
  await lab.pass(settings.audit_ms);
  t.equal(lab.gauges.drift, 1, 'what is missing counts, too');
  const backends = [1, 2].map((at) => ({ address: `10.44.0.${at}`, port: 8080 }));
  lab.setTranslations({ ...translation('10.96.0.1', 80, ''), backends } as Translation);
  await lab.pass(settings.audit_again_ms);
  t.strictSame(lab.takeDone(), [], 'it has passed');
});

t.test('an audit that a change overtakes says nothing', async (t) => {
  const lab = await Lab.synced(t, one_service);
  lab.holding = true;
  await lab.pass(settings.audit_ms);
  t.equal(lab.reads, 2, 'that of the start, and the audit');
  lab.vpp = new StrictVpp();
  lab.holding = false;
  await lab.told('EndpointSlice', { 'default/web-1': slice(web, [1]) });
  await lab.answer();
  t.equal(lab.gauges.drift, 0);
});

t.test(
  'a large service that changes all the time is told at its pace, and its last version arrives',
  async (t) => {
    const ends = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
    const many = (count: number): EndpointSlice =>
      slice(
        web,
        ends(count).map((at) => ({ address: `10.45.${at >> 8}.${at & 255}` })),
      );
    const lab = await Lab.synced(t, { ...one_service, slices: { a: many(1000) } });
    t.equal(lab.gauges.waiting, 0, 'a pause in which nothing comes keeps nobody waiting');
    t.ok(lab.ready_now.ok);
    for (let at = 0; at < 50; at += 1) {
      await lab.told('EndpointSlice', { a: many(900 + at) });
      await lab.pass(10);
    }
    t.ok(lab.transactions.length <= 6, `${lab.transactions.length} updates in half a second`);
    t.ok(lab.transactions.length >= 3, 'it is not put off for ever');
    await lab.pass(200);
    t.equal(lab.shown[web_vip]?.split(',').length, 949);
    t.equal(lab.gauges.waiting, 0);
    lab.takeDone();
    await lab.told('EndpointSlice', { a: many(900) });
    await lab.told('Service', { [web]: undefined });
    t.notOk(web_vip in lab.shown, 'one that goes is not kept by it');
    await lab.told('Service', one_service.services);
    t.notOk(web_vip in lab.shown, 'one that is back at once waits for its turn');
    await lab.told('Service', { [web]: undefined });
    t.equal(lab.translations.of(web_key), undefined, 'and is nobody’s when it goes before that');
  },
);

t.test('500 changes while VPP is busy are two transactions more', async (t) => {
  const lab = await Lab.synced(t, one_service);
  lab.holding = true;
  for (let at = 0; at < 500; at += 1)
    await lab.told('EndpointSlice', { [`default/web-${at % 7}`]: slice(web, [at % 250, (at + 1) % 250]) });
  t.equal(lab.transactions.length, 1, 'one of a key is on its way');
  await lab.answer();
  t.equal(lab.transactions.length, 2);
  t.equal(lab.gauges.waiting, 0);
});

t.test('ready: all programmed, and the API server answers by its service', async (t) => {
  const lab = await Lab.start(t);
  t.strictSame(lab.ready_now, { ok: false, reason: 'waits for VPP' });
  await lab.ready();
  t.match(lab.ready_now, {
    ok: false,
    reason: /^the API server has not told of each Service and EndpointSlice/,
  });
  lab.translations.hasSpoken('pods');
  await lab.tellAll({
    services: {
      'default/kubernetes': service('10.96.0.1', { ports: [servicePort(443, { name: 'https' })] }),
    },
    slices: {
      a: slice('default/kubernetes', [{ address: '10.0.0.9' }], {
        ports: [{ name: 'https', protocol: 'TCP', port: 6443 }],
      }),
    },
  });
  t.match(lab.ready_now, { ok: false, reason: /^Service default\/kubernetes is being tried/ });
  t.match(lab.probes, [{ address: '10.96.0.1' }]);
  lab.probes[0]?.reject(new Error('ECONNREFUSED'));
  await lab.kit.settle();
  t.match(lab.ready_now, { ok: false, reason: /cannot be reached from this node: ECONNREFUSED/ });
  await lab.pass(10_000);
  t.equal(lab.probes.length, 2);
  lab.probes[1]?.resolve();
  await lab.kit.settle();
  t.strictSame(lab.ready_now, { ok: true, reason: '' });
  await lab.told('EndpointSlice', { a: slice('default/kubernetes', []) });
  t.ok(lab.ready_now.ok, 'once is enough for a VPP');
  await lab.lost();
  t.notOk(lab.ready_now.ok);
  await lab.ready();
  t.notOk(lab.ready_now.ok);
});

t.test('a VPP that has no uplinks yet', async (t) => {
  const api = {
    services: {
      'default/kubernetes': service('10.96.0.1', { ports: [servicePort(443, { name: 'https' })] }),
    },
    slices: {
      a: slice('default/kubernetes', [{ address: '10.0.0.9' }], {
        ports: [{ name: 'https', protocol: 'TCP', port: 6443 }],
      }),
    },
  };
  const inPlace = async (lab: Lab) =>
    (await lab.kit.mailbox<SubscribeEarly | InPlace>('uplink').messages()).flatMap((message) =>
      message.type === 'InPlace' ? [`${message.of} ${message.round}`] : [],
    );
  await t.test('is given translations, of which the uplink is told', async (t) => {
    const lab = await Lab.synced(t, api);
    await lab.lost();
    lab.renew();
    lab.holding = true;
    await lab.prepared(1);
    t.strictSame(await inPlace(lab), []);
    await lab.answer();
    t.strictSame(await inPlace(lab), ['services 1']);
    t.equal(lab.vpp.objects.filter(({ kind }) => kind === 'translation').length, 1);
    await lab.prepared(2);
    t.strictSame(await inPlace(lab), ['services 2'], 'each time');
    const { length } = lab.transactions;
    await lab.ready();
    t.equal(lab.transactions.length, length, 'and has them when it has uplinks');
    t.strictSame(await inPlace(lab), []);
  });
  await t.test('waits for an API server to tell of services, and not for long', async (t) => {
    const lab = await Lab.start(t);
    lab.translations.hasSpoken('pods');
    await lab.prepared(1);
    await lab.pass(settings.prepare_ms - 100);
    t.strictSame(await inPlace(lab), []);
    await lab.tellAll(api);
    t.strictSame(await inPlace(lab), ['services 1'], 'once');
    await lab.pass(settings.prepare_ms);
    t.strictSame(await inPlace(lab), []);
    const silent = await Lab.start(t);
    await silent.prepared(1);
    await silent.pass(settings.prepare_ms);
    t.strictSame(await inPlace(silent), ['services 1'], 'which is silent');
  });
  await t.test('is waited with for as long as VPP takes', async (t) => {
    const lab = await Lab.synced(t, api);
    await lab.lost();
    lab.renew();
    lab.holding = true;
    await lab.prepared(1);
    await lab.pass(settings.prepare_ms);
    t.strictSame(await inPlace(lab), []);
    await lab.answer();
    t.strictSame(await inPlace(lab), ['services 1']);
  });
  await t.test('answers nobody: it is not probed, nor ready', async (t) => {
    const lab = await Lab.start(t);
    lab.translations.hasSpoken('pods');
    await lab.prepared(1);
    await lab.tellAll(api);
    await lab.pass(10_000);
    t.equal(lab.probes.length, 0);
    t.match(lab.ready_now, { ok: false, reason: /not given the uplinks/ });
    await lab.ready();
    t.equal(lab.probes.length, 1);
    lab.probes[0]?.resolve();
    await lab.kit.settle();
    t.strictSame(lab.ready_now, { ok: true, reason: '' });
  });
  await t.test('serves nobody: nothing of it is announced', async (t) => {
    const lab = await Lab.synced(t, api);
    const bgp = await lab.subscribe();
    await bgp.messages();
    await lab.lost();
    lab.renew();
    t.match(await bgp.messages(), [{ whole: false, changed: new Map([['10.96.0.1', false]]) }]);
    await lab.prepared(1);
    t.strictSame(await bgp.messages(), []);
    await lab.subscribe();
    t.match(await bgp.messages(), [{ whole: true, known: false, changed: new Map() }], 'whoever asks');
    await lab.ready();
    t.match(await bgp.messages(), [{ whole: true, known: true, changed: new Map([['10.96.0.1', true]]) }]);
  });
});

t.test('ready: nobody waits for ever for an API server that does not speak', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.pass(settings.silence_ms);
  t.match(lab.ready_now, { ok: true, reason: /^the API server does not tell of services/ });
});

t.test('ready: without a service of the API server there is nothing to be tried', async (t) => {
  const lab = await Lab.synced(t, one_service);
  t.strictSame(lab.ready_now, { ok: true, reason: '' });
  t.equal(lab.probes.length, 0);
});

t.test('how long it takes is measured, from the event and from the endpoint’s own change', async (t) => {
  const lab = await Lab.synced(t, one_service);
  const described = async () =>
    (await lab.kit.system.describe(lab.kit.ref.path, 1000)) as {
      event_to_vpp_seconds: { count: number; sum_seconds: number };
      kubeproxy_network_programming_duration_seconds: { count: number; sum_seconds: number };
    };
  const before = await described();
  const changed_ms = lab.kit.clock.wall_ms() - 1;
  lab.holding = true;
  await lab.told('EndpointSlice', { 'default/web-1': slice(web, [1], { changed_ms: changed_ms + 1 }) });
  await lab.pass(40);
  await lab.answer();
  const after = await described();
  t.equal(after.event_to_vpp_seconds.count, before.event_to_vpp_seconds.count + 1);
  t.match(after.event_to_vpp_seconds.sum_seconds - before.event_to_vpp_seconds.sum_seconds, 0.04);
  t.match(after.kubeproxy_network_programming_duration_seconds, { count: 1, sum_seconds: 0.04 });
  t.equal(lab.gauges.p99_ms, 50);
  await lab.told('EndpointSlice', { 'default/web-1': slice(web, [2], { changed_ms: changed_ms - 1e9 }) });
  t.equal(
    (await described()).kubeproxy_network_programming_duration_seconds.count,
    1,
    'not of before this life',
  );
});

t.test('services are shown as wanted, as programmed, and as VPP has them', async (t) => {
  const lab = await Lab.synced(t, one_service);
  lab.vpp = new StrictVpp([
    translation('10.96.0.1', 80, '10.44.0.66'),
    translation('10.96.9.9', 80, '10.44.0.1'),
  ]);
  t.match(await lab.show({ dump: true }), {
    service_count: 1,
    strays: ['translation:tcp/10.96.9.9/80'],
    services: {
      [web]: {
        vips: [
          {
            key: web_key,
            state: 'programmed',
            desired: ['10.44.0.1 8080', '10.44.0.2 8080'],
            programmed: ['10.44.0.1 8080', '10.44.0.2 8080'],
            dumped: ['10.44.0.66 8080'],
          },
        ],
      },
    },
  });
  t.match(await lab.show({ service: 'default/none' }), { services: { 'default/none': { vips: [] } } });
});

t.test('the host is told what it translates itself, and health ports, when they change', async (t) => {
  const lab = await Lab.synced(t, {
    services: {
      [web]: service('10.96.0.1', {
        type: 'LoadBalancer',
        load_balancer_ips: ['192.0.2.1'],
        external_policy: 'Local',
        health_port: 30999,
      }),
    },
    slices: { a: slice(web, [{ address: '10.44.0.1', node: 'own' }]) },
  });
  t.match(lab.healths.at(-1), [{ service: web, port: 30999, local_endpoints: 1 }]);
  t.equal(lab.programming.at(-1)?.[0], false, 'all is programmed');
  t.ok(
    lab.programming.some(([is_pending, is_progress]) => !is_pending && is_progress),
    'and was a moment ago',
  );
  t.ok(
    lab.programming.some(([is_pending]) => is_pending),
    'which took its time',
  );
  const node = { name: 'own', labels: {} };
  await lab.told('Node', { own: node, other: { ...node, name: 'other', going: true } });
  await lab.told('Node', { own: { ...node, going: true } });
  t.strictSame(lab.eligible, [true, false], 'the node is about to go');
  const told = lab.healths.length;
  await lab.told('EndpointSlice', { a: slice(web, [{ address: '10.44.0.1', node: 'own' }, 2]) });
  t.equal(lab.healths.length, told, 'the same is not told again');
  await lab.told('EndpointSlice', { a: slice(web, [2]) });
  t.match(lab.healths.at(-1), [{ local_endpoints: 0 }]);
  await lab.told('Service', { [web]: undefined });
  t.strictSame(lab.healths.at(-1), []);
});

t.test('whatever the sequence of changes, VPP has what a fresh start gives it', async () => {
  const names = ['ns/a', 'ns/b', 'ns/c'];
  const address = fc.integer({ min: 1, max: 4 }).map((at) => `10.96.0.${at}`);
  const change = fc.oneof(
    fc.record({
      kind: fc.constant('Service' as const),
      name: fc.constantFrom(...names),
      value: fc.option(
        fc.record({
          at: address,
          external: fc.boolean(),
          node_port: fc.option(fc.constantFrom(30001, 30002), { nil: undefined }),
          affinity: fc.boolean(),
        }),
        { nil: undefined },
      ),
    }),
    fc.record({
      kind: fc.constant('EndpointSlice' as const),
      name: fc.constantFrom('s1', 's2', 's3', 's4'),
      value: fc.option(
        fc.record({
          of: fc.constantFrom(...names),
          ends: fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { maxLength: 4 }),
        }),
        { nil: undefined },
      ),
    }),
    fc.record({ kind: fc.constant('vpp' as const), name: fc.constantFrom('lost', 'new', 'refuse', 'crash') }),
  );
  const objectOf = (each: { kind: 'Service' | 'EndpointSlice'; value: unknown }): unknown => {
    if (each.value === undefined) return undefined;
    if (each.kind === 'EndpointSlice') {
      const { of, ends } = each.value as { of: string; ends: number[] };
      return slice(of, ends);
    }
    const value = each.value as { at: string; external: boolean; node_port?: number; affinity: boolean };
    return service(value.at, {
      type: value.node_port === undefined ? 'ClusterIP' : 'NodePort',
      external_ips: value.external ? ['192.0.2.1'] : [],
      ports: [servicePort(80, value.node_port === undefined ? {} : { node_port: value.node_port })],
      ...(value.affinity && { affinity_ms: 1000 }),
    });
  };
  const whole = (lab: Lab) => lab.vpp.objects.map((object) => JSON.stringify(object)).sort();
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 25 }), async (changes) => {
      const ends: (() => Promise<void> | void)[] = [];
      const own = { teardown: (run: () => Promise<void> | void) => void ends.push(run) };
      const state: Record<'Service' | 'EndpointSlice', Record<string, unknown>> = {
        Service: {},
        EndpointSlice: {},
      };
      const lab = await Lab.synced(own);
      for (const each of changes) {
        if (each.kind !== 'vpp') {
          const object = objectOf(each);
          state[each.kind][each.name] = object;
          await lab.told(each.kind, { [each.name]: object });
          continue;
        }
        if (each.name === 'crash') {
          await lab.kit.crash(new Error('defect'));
          await lab.pass(10_000);
          await lab.ready();
          await lab.told('Service', state.Service);
          await lab.told('EndpointSlice', state.EndpointSlice);
          for (const kind of ['ServiceCIDR', 'Node', 'IPPool'] as const) await lab.told(kind);
        } else if (each.name === 'refuse') {
          let left = 2;
          lab.refuses = () => left-- > 0;
        } else {
          await lab.lost();
          if (each.name === 'new') lab.renew();
          await lab.ready();
        }
      }
      lab.refuses = () => false;
      await lab.pass(settings.writer.retry_max_ms);
      const fresh = await Lab.synced(own, {
        services: state.Service as Record<string, Service>,
        slices: state.EndpointSlice as Record<string, EndpointSlice>,
      });
      await fresh.pass(settings.writer.retry_max_ms);
      const [ours, theirs] = [whole(lab), whole(fresh)];
      for (const end of ends) await end();
      if (JSON.stringify(ours) !== JSON.stringify(theirs))
        throw new Error(`${ours}\n  in place of\n${theirs}`);
    }),
    { numRuns: 40 },
  );
});

t.test('the host hears which VPP has had everything, once it has', async (t) => {
  const lab = await Lab.start(t);
  lab.translations.hasSpoken('pods');
  await lab.ready();
  t.strictSame(lab.programs, [['one', false]]);
  await lab.tellAll(one_service, ['EndpointSlice']);
  t.equal(lab.programs.length, 1, 'not all was told');
  lab.holding = true;
  await lab.told('EndpointSlice', one_service.slices);
  t.equal(lab.programs.length, 1, 'VPP has not answered');
  await lab.answer();
  t.strictSame(lab.programs.at(-1), ['one', true]);
  await lab.told('EndpointSlice', { b: slice(web, [7]) });
  t.equal(lab.programs.length, 2, 'and that is that');
  await lab.lost();
  lab.renew();
  await lab.ready();
  t.strictSame(lab.programs.slice(2), [
    ["one'", false],
    ["one'", true],
  ]);
});

t.test('what goes later, or comes later for its size, keeps nobody from being ready', async (t) => {
  const lab = await Lab.start(t);
  lab.translations.hasSpoken('pods');
  await lab.ready();
  lab.holding = true;
  const large = Array.from({ length: 600 }, (_, at) => ({ address: `10.45.${at >> 8}.${at & 255}` }));
  await lab.tellAll({ services: one_service.services ?? {}, slices: { a: slice(web, large) } });
  await lab.told('EndpointSlice', { a: slice(web, large.slice(1)) });
  await lab.answer();
  t.strictSame(lab.programs.at(-1), ['one', true]);
  t.ok(Number(lab.gauges.waiting) > 0, 'its next version waits');
});
