/**
 * The sequences that kill VPP, as the contract has them: there a bare client sends them, and the stand-in and a real VPP die. Here
 * they are held before the request that would do it.
 */
import t from 'tap';
import { connect } from 'vpp-binapi-ts';
import { af_packet_delete } from 'vpp-binapi-ts/af_packet';
import { af_xdp_delete } from 'vpp-binapi-ts/af_xdp';
import { cnat_set_snat_addresses_v2 } from 'vpp-binapi-ts/cnat';
import {
  ikev2_initiate_sa_init,
  ikev2_profile_add_del,
  ikev2_set_tunnel_interface,
} from 'vpp-binapi-ts/ikev2';
import { delete_loopback, sw_interface_set_flags } from 'vpp-binapi-ts/interface';
import { ip_route_add_del_v2 } from 'vpp-binapi-ts/ip';
import { memif_create_v2, type memif_mode } from 'vpp-binapi-ts/memif';
import { npol_configure_policies } from 'vpp-binapi-ts/npol';
import { app_namespace_add_del_v4 } from 'vpp-binapi-ts/session';
import { memoryFile } from '../../lab/memory-file.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { startStandInVpp } from '../../lab/vpp/stand-in.js';
import type { VppObject } from '../../src/objects/object.js';
import type { Call } from '../../src/vpp-conn/call.js';
import { Executor } from '../../src/vpp-conn/execute.js';
import { openFibSources } from '../../src/vpp-conn/fib-sources.js';
import { Handles } from '../../src/vpp-conn/handles.js';
import { Life } from '../../src/vpp-conn/life.js';
import { DeadlyRequest, refusal } from '../../src/vpp-conn/poison.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';
import { Registry } from '../../src/vpp-conn/registry.js';
import { sequences } from '../vpp/contract/index.js';
import {
  changed_policy,
  changed_rule,
  configure,
  members,
  no_policy,
  no_rule,
  no_set,
  policy,
  rule,
  set,
} from '../vpp/contract/policies.js';
import {
  address,
  af_packet,
  af_xdp,
  bind,
  cnat_feature,
  ip4,
  ipip,
  loopback,
  mroute,
  no_ipip,
  no_route,
  no_table,
  no_tap,
  no_vxlan,
  path,
  path_mtu,
  proto6,
  punt_redirect,
  redirect,
  route,
  type Step,
  snat_addresses,
  table,
  tap,
  traffic,
  translation,
  tun,
  urpf,
  via,
  vxlan,
} from '../vpp/contract/steps.js';

/** Answers as VPP does: indexes from 1, ids from 0, each counted by itself. */
class Answering {
  readonly #counts = { sw_if_index: 1, rule_id: 0, policy_id: 0, set_id: 0, id: 0 };

  reply(name: string): { readonly retval: number } {
    const field = handle_of[name];
    return field === undefined ? { retval: 0 } : { retval: 0, [field]: this.#counts[field]++ };
  }
}

const handle_of: Readonly<Record<string, 'sw_if_index' | 'rule_id' | 'policy_id' | 'set_id' | 'id'>> = {
  tap_create_v3: 'sw_if_index',
  af_packet_create_v3: 'sw_if_index',
  af_xdp_create_v3: 'sw_if_index',
  create_loopback_instance: 'sw_if_index',
  ipip_add_tunnel: 'sw_if_index',
  memif_create_v2: 'sw_if_index',
  vxlan_add_del_tunnel_v3: 'sw_if_index',
  npol_rule_create: 'rule_id',
  npol_policy_create: 'policy_id',
  npol_ipset_create: 'set_id',
  cnat_translation_update: 'id',
};

class Conversation {
  readonly life: Life;
  readonly #vpp = new Answering();

  constructor(programmed: 'never' | 'before' = 'never') {
    this.life = new Life(programmed);
  }

  /** Asks for each of them, in this order; answers why the first one is refused that is. */
  ask(...steps: readonly (Step | typeof traffic)[]): string | undefined {
    for (const step of steps) {
      if (step === traffic || step.message.kind !== 'request') continue;
      const call = step as unknown as Call;
      const refused = refusal(call, this.life);
      if (refused !== undefined) return refused.message;
      this.life.sent(call).done(this.#vpp.reply(call.message.name));
    }
    return undefined;
  }

  /** Sends it, and VPP gives this index to what it makes. */
  madeByVpp(step: Step, sw_if_index: number): void {
    const call = step as unknown as Call;
    this.life.sent(call).done({ retval: 0, sw_if_index } as { readonly retval: number });
  }

  /** Sends it, and VPP refuses. */
  refusedByVpp(step: Step): void {
    const call = step as unknown as Call;
    if (refusal(call, this.life) === undefined) this.life.sent(call).refused();
  }
}

const asked = (...steps: readonly Step[]): string | undefined => new Conversation().ask(...steps);
const step = <In>(
  message: { readonly name: string; encode(to: never, at: number, value: In): number },
  fields: In,
) => ({ message, fields }) as unknown as Step;

const memif = (mode: memif_mode) =>
  step(memif_create_v2, {
    role: 'MEMIF_ROLE_API_MASTER',
    mode,
    rx_queues: 1,
    tx_queues: 1,
    id: 0,
    socket_id: 1,
    ring_size: 1024,
    buffer_size: 2048,
    no_zero_copy: false,
    use_dma: false,
    hw_addr: '00:00:00:00:00:00',
    secret: '',
  });

t.test('each sequence that kills VPP is held before its end', async (t) => {
  for (const { name, steps, dies, spins } of sequences) {
    if (dies !== true && spins !== true) continue;
    t.type(new Conversation().ask(...steps), 'string', name);
  }
});

t.test('what is near them and survived is let pass', async (t) => {
  for (const name of [
    'a pod, made and removed in the order of this product',
    'memif: ports of an address lead to it, and hide its route',
    'P3 with the cnat call first is survived',
    'P4 without multipath is survived',
    'P5 with a next hop is survived',
    'path MTUs of addresses in the subnet of an interface are survived',
    'of one source alone they are survived',
    'VXLAN without Ethernet over IPv4: a route by it with a next hop is survived',
    'IPIP: one for each pair of ends, found again by its index',
    'IPIP: a tunnel led to its far end by another one is survived',
    'IPIP: a tunnel led to its far end by a route whose next hop it leads to itself is survived',
    'an interface is deleted under the routes of two sources',
    'multicast routes are added to, need two messages to go, and are hidden by those of VPP',
    'the classifier: tables and sessions outlive what uses them, and so does the input ACL of an interface',
  ]) {
    const sequence = sequences.find((each) => each.name === name);
    t.equal(new Conversation().ask(...sequence!.steps), undefined, name);
  }
});

t.test('an application namespace is asked for once, and half of one is left alone', async (t) => {
  const namespace = (namespace_id: string, is_add: boolean) => ({
    is_add,
    secret: 0n,
    sw_if_index: 1,
    ip4_fib_id: 0,
    ip6_fib_id: 0,
    namespace_id,
    sock_name: '',
  });
  const life = new Life('never');
  const call = (id: string, is_add: boolean) =>
    ({ message: app_namespace_add_del_v4, fields: namespace(id, is_add) }) as unknown as Call;
  t.equal(refusal(call('a-1', true), life), undefined);
  life.sent(call('a-1', true)).refused();
  t.match(refusal(call('a-1', true), life), /asked for the application namespace a-1 before/);
  t.match(refusal(call('a-1', false), life), /has half of/);
  life.sent(call('a-2', true)).done({ retval: 0 });
  t.equal(refusal(call('a-2', false), life), undefined);
  life.sent(call('a-2', false)).done({ retval: 0 });
  t.equal(refusal(call('a-2', true), life), undefined, 'gone for good');
});

t.test('a translation: no back end, or one twice', async (t) => {
  t.match(asked(translation('10.0.0.2', 80, [])), /without back ends/);
  t.match(asked(translation('10.0.0.2', 80, ['10.1.0.5', '10.1.0.6', '10.1.0.5'])), /10\.1\.0\.5 .* twice/);
  t.equal(asked(translation('10.0.0.2', 80, ['10.1.0.5', '10.1.0.6'])), undefined);
  t.match(asked(translation('10.0.0.2', 80, ['10.1.0.5'], { sw_if_index: 0 })), /sw_if_index 0 stands for/);
  const many = (count: number) => Array.from({ length: count }, (_, n) => `10.1.${n >> 8}.${n & 255}`);
  t.equal(asked(translation('10.0.0.2', 80, many(8192))), undefined);
  t.match(asked(translation('10.0.0.2', 80, many(8193))), /8193 back ends/);
});

t.test('SNAT addresses that are all zero; those of an interface are none', async (t) => {
  t.match(asked(snat_addresses('0.0.0.0', '::')), /frees the policy/);
  t.equal(asked(snat_addresses('10.0.0.2', '::')), undefined);
  const of_interface = {
    snat_ip4: '0.0.0.0',
    snat_ip6: '::',
    sw_if_index: 1,
    fwd_fib_index: 0,
    ret_fib_index: 0,
  };
  t.equal(asked(step(cnat_set_snat_addresses_v2, { ...of_interface, flags: 0 })), undefined);
});

t.test('the first cnat call after a bind', async (t) => {
  const bound = [table(7, false, 'pod'), tun(), bind(1, false, 7)];
  t.test('is refused, whichever it is', async (t) => {
    for (const first of [
      snat_addresses('10.0.0.2', '::'),
      cnat_feature(1),
      translation('10.0.0.2', 80, ['10.1.0.5']),
    ]) {
      t.match(asked(...bound, first), /interface 1 is bound/);
    }
  });

  t.test('is none behind any of them', async (t) => {
    for (const first of [
      snat_addresses('10.0.0.2', '::'),
      cnat_feature(1),
      translation('10.0.0.2', 80, ['10.1.0.5']),
    ]) {
      t.equal(asked(first, ...bound, cnat_feature(1)), undefined);
    }
  });

  t.test('is none when one was sent before, answered or not', async (t) => {
    const vpp = new Conversation();
    vpp.life.sent(snat_addresses('10.0.0.2', '::') as unknown as Call);
    t.equal(vpp.ask(...bound, cnat_feature(1)), undefined);
  });

  t.test('is one when that was refused by VPP', async (t) => {
    const vpp = new Conversation();
    vpp.refusedByVpp(snat_addresses('10.0.0.2', '::'));
    t.match(vpp.ask(...bound, cnat_feature(1)), /interface 1 is bound/);
  });

  t.test('is harmless when the bind was refused, undone, or its interface is gone', async (t) => {
    const refused = new Conversation();
    refused.ask(tun());
    refused.refusedByVpp(bind(1, false, 7));
    t.equal(refused.ask(cnat_feature(1)), undefined);
    t.equal(asked(...bound, bind(1, false, 0), cnat_feature(1)), undefined);
    t.equal(asked(...bound, no_tap(1), cnat_feature(2)), undefined);
  });

  t.test('is taken for done in a VPP that was programmed before', async (t) => {
    t.equal(new Conversation('before').ask(...bound, cnat_feature(1)), undefined);
  });
});

t.test('routes: by path, of type BIER, with an RPF id', async (t) => {
  const prefix = '10.1.0.0/24';
  t.match(asked(tun(), route(0, prefix, [via(1, '10.0.0.1')], true)), /sent whole/);
  t.match(asked(no_route(0, prefix, [via(1, '10.0.0.1')], true)), /sent whole/);
  const bier = path({ type: 'FIB_API_PATH_TYPE_BIER_IMP' });
  t.match(asked(route(0, prefix, [path(), bier])), /BIER/);
  t.match(asked(redirect(0, [bier])), /BIER/);
  t.match(asked(punt_redirect(ip4, [bier])), /BIER/);
  t.match(asked(mroute(0, '224.0.0.0/4', [{ itf_flags: 2, path: bier }])), /BIER/);
  t.match(asked(tun(), route(0, prefix, [path({ sw_if_index: 1, nh: '10.0.0.1', rpf_id: 5 })])), /RPF id 5/);
  t.equal(asked(tun(), route(0, prefix, [path({ sw_if_index: 1, nh: '10.0.0.1', rpf_id: 0 })])), undefined);
});

t.test('next hops without an interface are for one source alone', async (t) => {
  const by = (src: number, prefix = '10.1.0.0/24'): Step => {
    const { message, fields } = route(0, prefix, [path({ nh: '10.0.0.1' })]) as unknown as Call;
    const { route: one, ...others } = fields as { readonly route: object };
    return { message, fields: { ...others, route: { ...one, src } } } as unknown as Step;
  };
  t.equal(asked(by(20), by(20, '10.2.0.0/24')), undefined);
  t.match(asked(by(20), by(21)), /for one FIB source alone, and 20 has some already/);
  t.equal(
    asked(tun(), route(0, '10.1.0.0/24', [via(1, '10.0.0.1')]), by(21)),
    undefined,
    'it had an interface',
  );
  const refused = new Conversation();
  refused.refusedByVpp(by(20));
  t.equal(refused.ask(by(21)), undefined, 'VPP has none of the first one');
  refused.refusedByVpp(by(21, '10.2.0.0/24'));
  t.match(refused.ask(by(20)), /21 has some already/, 'but one of the second');
});

t.test('a route attached to an interface of another table', async (t) => {
  const bound = [table(7, false, 'pod'), tun(), bind(1, false, 7)];
  const attached = route(0, '10.1.0.5/32', [via(1)]);
  t.match(asked(...bound, attached), /10\.1\.0\.5\/32 .* table 7/);
  t.equal(asked(...bound, route(0, '10.1.0.5/32', [via(1, '10.1.0.5')])), undefined);
  t.equal(asked(...bound, route(7, '10.1.0.5/32', [via(1)])), undefined, 'its own table');
  t.equal(asked(...bound, no_tap(1), route(0, '10.1.0.5/32', [via(1)])), undefined, 'VPP refuses that');
  t.equal(asked(...bound, no_route(0, '10.1.0.5/32', [via(1)])), undefined, 'it goes');
  const adopted = new Conversation('before');
  t.equal(adopted.ask(attached), undefined, 'whose table nobody knows');
  t.match(adopted.ask(bind(1, false, 7), attached), /table 7/);
});

t.test('an index that VPP gives again is another interface', async (t) => {
  for (const [make, remove] of [
    [tun(), no_tap(1)],
    [loopback(), step(delete_loopback, { sw_if_index: 1 })],
    [af_xdp('eth0'), step(af_xdp_delete, { sw_if_index: 1 })],
    [af_packet('eth0'), step(af_packet_delete, { host_if_name: 'eth0' })],
  ] as const) {
    const { name } = make.message;
    const gone = new Conversation();
    gone.ask(make, bind(1, false, 7), remove);
    t.same(gone.life.bound, [], name);
    const again = new Conversation();
    again.ask(bind(1, false, 7), make);
    t.same(again.life.bound, [], name);
  }
  const vpp = new Conversation();
  vpp.ask(af_packet('eth0'), bind(1, false, 7));
  t.same(vpp.life.bound, [1]);
  vpp.refusedByVpp(step(af_packet_delete, { host_if_name: 'eth0' }));
  t.same(vpp.life.bound, [1], 'it was not deleted');
  vpp.ask(step(af_packet_delete, { host_if_name: 'eth0' }));
  t.same(vpp.life.bound, []);
});

t.test('a table that uRPF looks up is not deleted before uRPF is off or its interface gone', async (t) => {
  const checked = [table(7, false, 'sources'), tun(), urpf(1, 'LOOSE', 7)];
  t.match(asked(...checked, no_table(7, false)), /uRPF of interface 1/);
  t.equal(asked(...checked, no_table(7, true)), undefined, 'of the other family');
  t.equal(asked(...checked, urpf(1, 'OFF', 7), no_table(7, false)), undefined);
  t.equal(asked(...checked, no_tap(1), no_table(7, false)), undefined);
});

t.test('path MTUs: only of addresses on link', async (t) => {
  t.match(asked(path_mtu(0, '10.7.0.1', 1400)), /10\.7\.0\.1 is in no subnet/);
  const by_default = [tun(), route(0, '0.0.0.0/0', [via(1, '10.0.0.1')])];
  t.match(asked(...by_default, path_mtu(0, '10.7.0.1', 1400)), /in no subnet/);
  const on_link = [tap(), address(1, '10.7.0.2/24')];
  t.equal(asked(...on_link, path_mtu(0, '10.7.0.1', 1400)), undefined);
  t.match(asked(...on_link, path_mtu(0, '10.8.0.1', 1400)), /in no subnet/);
  t.match(asked(...on_link, path_mtu(7, '10.7.0.1', 1400)), /table 7/);
  t.equal(new Conversation('before').ask(path_mtu(0, '10.7.0.1', 1400)), undefined);
});

t.test('names of links that Linux would cut', async (t) => {
  t.match(asked(tap({ host_if_name: 'a-name-of-sixteen' })), /more than 15/);
  t.match(asked(af_packet('a-name-of-sixteen')), /more than 15/);
  t.match(asked(af_xdp('a-name-of-sixteen')), /more than 15/);
  t.equal(asked(tap({ host_if_name: 'exactly-fifteen' })), undefined);
  t.equal(asked(tap({ host_if_name_set: false, host_if_name: 'of no importance here' })), undefined);
});

t.test('memif: the modes that VPP has', async (t) => {
  t.match(asked(memif('MEMIF_MODE_API_PUNT_INJECT')), /mode MEMIF_MODE_API_PUNT_INJECT/);
  t.equal(asked(memif('MEMIF_MODE_API_IP')), undefined);
});

t.test('npol: nothing refers to what is not there', async (t) => {
  const of_set = (set_id: number) =>
    rule({ is_src: true, is_not: false, type: 'NPOL_IP_SET', data: { set_id: { set_id } } });
  t.match(asked(of_set(0)), /no IP set 0/);
  t.equal(asked(set('NPOL_IP'), of_set(0)), undefined);
  t.match(asked(set('NPOL_IP'), no_set(0), of_set(0)), /no IP set 0/);
  t.match(asked(policy(0)), /no rule 0/);
  t.equal(asked(rule(), policy(0)), undefined);
  t.match(asked(rule(), rule(), no_rule(1), policy(0, 1)), /no rule 1/);
  t.match(asked(configure(1, 1, 0, [0])), /no policy 0/);
  t.equal(asked(policy(), configure(1, 1, 0, [0])), undefined);
  t.match(asked(policy(), no_policy(0), configure(1, 1, 0, [0])), /no policy 0/);
  t.match(asked(changed_rule(0)), /id 0 to update/);
  t.match(asked(changed_policy(3)), /id 3 to update/);
  t.match(asked(policy(), configure(1, 1, 1, [0])), /announces 2 .* has 1/);
});

t.test('npol: what VPP refused to delete is there, and in an adopted VPP everything may be', async (t) => {
  const vpp = new Conversation();
  vpp.ask(rule());
  vpp.refusedByVpp(no_rule(0));
  t.equal(vpp.ask(policy(0)), undefined);
  const adopted = new Conversation('before');
  t.equal(adopted.ask(policy(5), configure(1, 1, 0, [9]), changed_rule(4)), undefined);
  t.match(adopted.ask(no_rule(5), policy(5)), /no rule 5/, 'but for what was deleted since');
});

t.test('npol: numbers beyond all measure are neither known nor remembered', async (t) => {
  const vpp = new Conversation('before');
  vpp.ask(no_rule(0xffff_fff0));
  t.equal(vpp.ask(policy(0xffff_fff0)), undefined);
});

t.test('npol: members of sets of addresses with ports are not removed one by one', async (t) => {
  const member = { tuple: { address: '10.0.0.1', l4_proto: 6, port: 80 } };
  t.match(asked(set('NPOL_IP_AND_PORT'), members(0, false, member)), /wrong members/);
  t.equal(asked(set('NPOL_IP_AND_PORT'), members(0, true, member)), undefined);
  t.equal(asked(set('NPOL_IP'), members(0, false, { address: '10.0.0.1' })), undefined);
});

t.test('npol: both directions by one list', async (t) => {
  const both = {
    sw_if_index: 1,
    num_rx_policies: 0,
    num_tx_policies: 0,
    policy_default_rx: 'NPOL_DEFAULT_DENY',
    policy_default_tx: 'NPOL_DEFAULT_DENY',
    profile_default_rx: 'NPOL_DEFAULT_DENY',
    profile_default_tx: 'NPOL_DEFAULT_DENY',
    policy_ids: [],
  } as const;
  t.match(asked(step(npol_configure_policies, { ...both, invert_rx_tx: 2 })), /invert_rx_tx 2/);
  t.equal(asked(step(npol_configure_policies, { ...both, invert_rx_tx: 1 })), undefined);
});

t.test('a match that is longer than its field', async (t) => {
  const { message, fields } = redirect(0, [path()]);
  t.match(asked({ message, fields: { ...fields, match_len: 81 } }), /match_len 81/);
});

t.test('one object that would kill VPP costs no other, and VPP lives', async (t) => {
  const vpp = await startStandInVpp();
  t.teardown(() => vpp.close());
  const client = await connect({ transport: vpp.transport(), name: 'test', timers: new TurnedClock() });
  t.teardown(() => client.close());
  const handles = new Handles();
  const executor = new Executor({
    connections: { prompt: client, bulk: client },
    handles,
    registry: new Registry(memoryFile(), 'this one'),
    quarantine: new Quarantine(memoryFile(), () => undefined),
    clock: new TurnedClock(),
    life: new Life(await openFibSources(client, handles)),
  });
  const drop = (prefix: string): VppObject => ({
    kind: 'route',
    source: 'node',
    table_id: 0,
    prefix,
    paths: [{ via: 'drop' }],
  });
  const objects: readonly VppObject[] = [
    drop('10.1.0.0/24'),
    { kind: 'translation', address: '10.0.0.2', port: 80, protocol: 'tcp', backends: [] },
    drop('10.2.0.0/24'),
  ];
  const { outcomes } = await executor.run(
    {
      generation: 1,
      owner: 'test',
      operations: objects.map((object) => ({ action: 'add', object })),
      on_error: 'continue',
      urgency: 'bulk',
    },
    () => false,
  );
  t.same(
    outcomes.map(({ error }) => error instanceof DeadlyRequest),
    [false, true, false],
  );
  t.match(outcomes[1]!.error, { code: 'deadly', message: /^cnat_translation_update is not sent: / });
  t.equal(vpp.counts.get(ip_route_add_del_v2.name), 2);
  t.equal(vpp.counts.get('cnat_translation_update'), undefined);
  t.equal(vpp.hung, undefined);
});

t.test('the families of an address tell nothing of the other one', async (t) => {
  const bound = [table(7, true, 'pod'), tun(), bind(1, true, 7)];
  t.equal(asked(...bound, route(0, '10.1.0.5/32', [via(1)])), undefined);
  t.equal(asked(table(7, false, 'sources'), tun(), urpf(1, 'LOOSE', 7, ip4), no_table(7, true)), undefined);
});

t.test('no path of a route leads the packets of another tunnel into one', async (t) => {
  const tunnels = [ipip('10.0.0.1', '10.0.0.2'), ipip('10.0.0.1', '10.9.0.3')];
  const to_first = route(0, '10.1.0.0/24', [via(1, '10.0.0.2')]);
  const around = (...by: readonly number[]) =>
    asked(
      ...tunnels,
      to_first,
      route(
        0,
        '10.0.0.0/24',
        by.map((n) => via(n, '10.9.0.9')),
      ),
    );
  t.equal(around(1), undefined);
  for (const by of [[2], [1, 2], [2, 1]]) t.match(around(...by), /far end of tunnel 1 in it/, by.join());
  const itself = (...paths: Parameters<typeof route>[2]) => asked(...tunnels, route(0, '10.0.0.0/24', paths));
  t.equal(itself(via(2, '10.9.0.9')), undefined, 'nothing leads by the first tunnel');
  t.match(itself(via(2, '10.9.0.9'), via(1, '10.9.0.9')), /far end of tunnel 1/, 'but this one itself');
});

t.test('ends of a tunnel that is gone say nothing of the interface that has its index now', async (t) => {
  const told = new Conversation();
  const deleted = no_vxlan('10.0.0.2', '10.0.0.3');
  t.equal(told.ask(vxlan('10.0.0.2', '10.0.0.3'), deleted), undefined);
  told.life.madeTunnel(1, '10.0.0.4');
  t.equal(
    told.ask(route(0, '10.1.0.0/24', [via(1, '10.0.0.4')]), deleted),
    undefined,
    'VPP refuses it itself',
  );
  t.match(told.ask(no_ipip(1)), /still leads by tunnel 1/);
});

t.test('a tunnel does not go under its routes', async (t) => {
  const drop = path({ type: 'FIB_API_PATH_TYPE_DROP' });
  const by = [via(1, '10.0.0.3')];
  const rows: [name: string, tunnel: Step, no_tunnel: Step][] = [
    ['IPIP', ipip('10.0.0.2', '10.0.0.3'), no_ipip(1)],
    ['VXLAN', vxlan('10.0.0.2', '10.0.0.3'), no_vxlan('10.0.0.2', '10.0.0.3')],
  ];
  for (const [name, tunnel, no_tunnel] of rows) {
    const refused = /route 10\.1\.0\.0\/24 of table 0 \(source 0\) still leads by tunnel 1/;
    const gone = (...steps: readonly Step[]): string | undefined =>
      new Conversation().ask(tunnel, ...steps, no_tunnel);
    t.equal(gone(), undefined, name);
    t.match(gone(route(0, '10.1.0.0/24', by)), refused);
    t.match(gone(route(0, '10.1.0.0/24', [path({ nh: '10.0.0.9' }), ...by])), refused, 'among other paths');
    t.match(
      gone(route(0, '10.1.0.0/24', by), route(2, '10.1.0.0/24', by), no_route(2, '10.1.0.0/24')),
      refused,
    );
    t.equal(gone(route(0, '10.1.0.0/24', by), no_route(0, '10.1.0.0/24')), undefined, 'removed');
    t.equal(gone(route(0, '10.1.0.0/24', by), route(0, '10.1.0.0/24', [drop])), undefined, 'led elsewhere');
    t.equal(gone(route(0, '10.1.0.0/24', [via(9, '10.0.0.3')])), undefined, 'by another');

    const refused_route = new Conversation();
    refused_route.ask(tunnel);
    refused_route.refusedByVpp(route(0, '10.1.0.0/24', by));
    t.equal(refused_route.ask(no_tunnel), undefined, 'a route that VPP has refused');

    const refused_move = new Conversation();
    refused_move.ask(tunnel, route(0, '10.1.0.0/24', by));
    refused_move.refusedByVpp(route(0, '10.1.0.0/24', [drop]));
    t.match(refused_move.ask(no_tunnel), refused, 'a route that VPP would not lead elsewhere');
    refused_move.ask(no_route(0, '10.1.0.0/24'));
    refused_move.refusedByVpp(no_tunnel);
    refused_move.ask(route(0, '10.1.0.0/24', by));
    t.match(refused_move.ask(no_tunnel), refused, 'a tunnel that VPP would not let go');
  }
});

t.test('a route by VXLAN has a next hop', async (t) => {
  const tunnel = vxlan('fd00::2', 'fd00::3');
  t.match(asked(tunnel, route(0, 'fd10::/64', [path({ sw_if_index: 1, ...proto6 })])), /no next hop/);
  t.match(
    asked(tunnel, bind(1, true, 7), route(0, 'fd10::/64', [path({ sw_if_index: 1, ...proto6 })])),
    /no next hop/,
  );
  t.equal(asked(tunnel, route(0, 'fd10::/64', [path({ sw_if_index: 1, nh: 'fd00::3' })])), undefined);
  t.equal(
    asked(ipip('10.0.0.2', '10.0.0.3'), route(0, '10.1.0.0/24', [via(1)])),
    undefined,
    'by IPIP it need not',
  );
  t.match(asked(vxlan('10.0.0.2', '10.0.0.3', { vni: 2 ** 24 })), /more than 24 bits/);
});

t.test('IKE is asked about a profile when it has had one', async (t) => {
  const name = 'node-10.0.0.2';
  const about = [
    step(ikev2_set_tunnel_interface, { name, sw_if_index: 1 }),
    step(ikev2_initiate_sa_init, { name }),
  ];
  for (const request of about) {
    t.match(asked(request), /has had no profile yet/);
    for (const is_add of [true, false])
      t.equal(asked(step(ikev2_profile_add_del, { name, is_add }), request), undefined);
  }
  // All of an object is judged before any of it is sent.
  const first = [step(ikev2_profile_add_del, { name, is_add: true }), ...about] as unknown as Call[];
  for (const call of first) t.equal(refusal(call, new Life('never'), first), undefined);
});

t.test('what IKE brings up nobody else does, and it keeps its tunnel', async (t) => {
  const up = (sw_if_index: number) => step(sw_interface_set_flags, { sw_if_index, flags: 1 });
  const down = step(sw_interface_set_flags, { sw_if_index: 1, flags: 0 });
  const name = 'node-10.0.0.2';
  const profile = step(ikev2_profile_add_del, { name, is_add: true });
  const encrypts = step(ikev2_set_tunnel_interface, { name, sw_if_index: 1 });
  const no_profile = step(ikev2_profile_add_del, { name, is_add: false });
  const tunnel = ipip('10.0.0.1', '10.0.0.2');
  t.match(asked(tunnel, profile, encrypts, up(1)), /brought up by IKE, profile node-10.0.0.2, alone/);
  t.equal(asked(tunnel, profile, encrypts, down, up(2)), undefined);
  t.match(asked(tunnel, profile, encrypts, no_ipip(1)), /IKE profile node-10.0.0.2 still has tunnel 1/);
  t.equal(asked(tunnel, profile, encrypts, no_profile, no_ipip(1)), undefined);
  const refused = new Conversation();
  refused.ask(tunnel, profile, encrypts);
  refused.refusedByVpp(no_profile);
  t.match(refused.ask(no_ipip(1)), /still has/);
  // VPP has taken the tunnel away, and gives its index to the next interface.
  for (const next of [tap(), memif('MEMIF_MODE_API_IP'), ipip('10.0.0.1', '10.0.0.3')]) {
    const reused = new Conversation();
    reused.ask(tunnel, profile, encrypts);
    reused.madeByVpp(next, 1);
    t.equal(reused.ask(up(1)), undefined, next.message.name);
  }
});
