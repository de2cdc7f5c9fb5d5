/**
 * What the existing implementation gets wrong about routes, networks, encryption, BGP, services, policies and what it reads of Kubernetes, each with the tests that keep it out of here. The table
 * is held to be true: a test that is renamed or removed is missed.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';

type Kept = readonly [file: string, ...names: string[]];

const defects: Readonly<Record<string, readonly Kept[]>> = {
  'filters: Equal and NotEqual match nothing or everything; one without a prefix ends the process; lengths, sources, communities and operations are ignored':
    [
      [
        'bgp/plan.test.ts',
        'filters: operators, lengths, order and missing fields',
        'operations: the last statement decides, those before prepend',
      ],
      ['conformance/fields.test.ts', 'filters of what comes', 'filters of what goes'],
    ],
  'filters: own blocks cannot be rejected; what is deleted stays; sets in use end the process': [
    ['conformance/fields.test.ts', 'filters of what goes'],
    ['bgp/diff.test.ts', 'what gobgpd has after a round is what it is told', 'what goes goes in reverse'],
  ],
  'peers: no port, fields ignored, changes of TTL, labels and AS unseen, nodes that come again never peered with':
    [
      ['bgp/plan.test.ts', 'peers: ports, fields, TTL, labels, AS, nodes that come again'],
      ['bgp/diff.test.ts', 'a peer is changed in place where gobgpd can, and made anew where it cannot'],
      ['conformance/fields.test.ts', 'sessions'],
    ],
  'peers: an address of two nodes flaps; reflectors are of the mesh': [
    [
      'bgp/plan.test.ts',
      'two nodes with one address are one peer, and told',
      'route reflectors: clients, other reflectors, and peers that peer back',
    ],
    ['conformance/fields.test.ts', 'a route reflector'],
  ],
  'passwords: one that is missing is never looked for again; they are in logs': [
    ['bgp/plan.test.ts', 'secrets: a peer waits for its password, and one that is there stays'],
    ['actors/bgp.test.ts', 'a password is asked for, given to gobgpd, and shown to nobody'],
    ['k8s/reflector.test.ts', 'a Secret by name: others are not asked for, a new password is told'],
    ['k8s/roles.test.ts', 'the roles give what is asked for, and nothing else'],
  ],
  'BGPConfiguration: any change ends the process; fields, and those of the node, are unread': [
    ['bgp/plan.test.ts', 'configuration: every field of both objects is read'],
    ['conformance/gobgpd.test.ts', 'what changes while a session lasts, and what takes a new one'],
    ['actors/bgp.test.ts', 'another AS takes another gobgpd'],
  ],
  'pools: a change of mode does not reach routes; of pools within each other any one decides; disableBGPExport is ignored':
    [
      [
        'desired/connectivity.test.ts',
        'a pool whose encapsulation changes takes its routes along at once',
        'of pools within each other the longest decides, whatever the order; both are reported',
      ],
      ['desired/local-prefixes.test.ts', 'the longest pool says whether it is announced'],
      ['vpp/routes.test.ts', 'pods of two nodes, and the pools change their way while packets flow'],
    ],
  'pools: a change of natOutgoing alone is none': [
    ['actors/cni.test.ts', 'pools that become known in the middle of an ADD are those of that pod, too'],
  ],
  'routes: one by another next hop leaves the old one, which comes back; a removal that is late takes the new one':
    [
      [
        'desired/connectivity.test.ts',
        'a prefix that moves to another node is one route, and leaves nothing of the first',
        'whatever is told in whatever order, what is wanted is what a fresh plan wants',
      ],
      ['bgp/remote-table.test.ts', 'best paths are told as they come and go, of both families'],
    ],
  'VXLAN: tunnels of an earlier life are not found again, so that new routes fail; a step that fails leaks the tunnel':
    [
      ['vpp/routes.test.ts', 'its process is started anew beside tunnels, and one more block is given'],
      [
        'vpp-conn/observe.test.ts',
        'a tunnel that its process did not come to tag is made anew by the next one',
      ],
      [
        'actors/connectivity.test.ts',
        'what VPP refuses is tried again, later each time, and costs nobody else',
      ],
    ],
  'VXLAN: the families of what is inside and outside are taken for one': [
    [
      'desired/connectivity.test.ts',
      'one tunnel of IPIP carries both families; VXLAN, and what goes flat, its own alone',
    ],
  ],
  'after a restart IPv6 routes are not counted, and nothing that is stale goes': [
    [
      'actors/connectivity.test.ts',
      'what an earlier life has left is taken over: nothing goes before all is told, then what nobody wants',
      'what may be left behind routes of others goes when all is told, and what is wanted stays',
    ],
    ['vpp/routes.test.ts', 'its process is killed, and started again'],
  ],
  'BGP: what is no own prefix is passed on; own next hops and the node itself are not guarded; unallocated addresses loop':
    [
      ['bgp/plan.test.ts', 'route policy: nothing of others is told but what is of the pools'],
      [
        'desired/connectivity.test.ts',
        'guards: what would cut off the node, or lead to itself, is reported and not programmed',
        'an own block is dropped where nothing longer holds; a route to the same prefix goes before',
      ],
    ],
  'GoBGP: a node without IPv4 has no identifier; events are lost between table and watch; any error is the end; blocks are not told again':
    [
      [
        'bgp/plan.test.ts',
        'GoBGP: a node without IPv4 has an identifier',
        'a router id is an IPv4 address that no peer refuses',
      ],
      ['bgp/remote-table.test.ts', 'a watch that begins anew tells what is gone by silence'],
      [
        'actors/bgp.test.ts',
        'what gobgpd refuses is told on its object, tried again, and costs no other',
        'a gobgpd that dies costs no route; what its peers do not tell again goes',
        'one that runs is adopted: what it has is not told it again',
      ],
    ],
  'services: addresses of one that is deleted stay announced; readiness is ignored; ranges that are taken out stay':
    [
      [
        'desired/local-prefixes.test.ts',
        'prefixes of services: by prefix, and one by one where the node matters',
        'endpoints come and go, in several slices, and each family by itself',
      ],
      ['conformance/fields.test.ts', 'what a BGPConfiguration says'],
    ],
  'full queues: publishers wait for each other for ever': [
    [
      'actors/connectivity.test.ts',
      'whoever tells is answered, whether there is a VPP or not, and whatever waits for one',
    ],
    [
      'actors/cluster.test.ts',
      'an answer that does not come is a change told again; meanwhile the others are told',
    ],
    ['k8s/reflector.test.ts', 'a receiver that takes its time holds the server back, and loses nothing'],
  ],
  'liveness fails while something is waited for': [
    ['debug/routes.test.ts', 'probes: which state of the node gives which answer'],
  ],
  'routes of Linux to pods: only removals are seen, and what is put back leads to a gateway of before': [
    ['uplink/pool-routes-root.test.ts', 'a real kernel takes the routes to pods'],
    [
      'actors/uplink.test.ts',
      'the host reaches pods by the tap: told before or after, changed, and gone with the pool',
      'what is ours on the tap is mended when the host has rebuilt the rest as it was',
      'after a renumbering our own routes and neighbours on the tap are those of the new addresses',
    ],
  ],
  'WireGuard: of peers the first alone is seen by the next process; the number of one that was told anew is lost':
    [
      [
        'vpp-conn/observe.test.ts',
        'WireGuard: the next process finds each peer, and what it changes of one is no other’s',
      ],
      ['actors/connectivity.test.ts', 'a peer of an earlier life keeps its session until all is told'],
    ],
  'WireGuard: a key is a peer once, so that only one family of a node is encrypted; each route makes a session of its own':
    [
      [
        'desired/wireguard.test.ts',
        'one interface, and a node that has a key is one peer with its prefixes of both families',
        'a burst of blocks is one change of the peer',
        'a cluster that is toggled has each peer planned once, in pieces, and before what leads by them',
      ],
      [
        'vpp/contract/wireguard.ts',
        'WireGuard: an interface with its key, peers of both families, and each key once',
      ],
      ['vpp/wireguard-go.test.ts', 'wireguard-go is a node of the cluster'],
    ],
  'WireGuard: another VPP has another key; the key may be lost, or read': [
    ['host/wireguard-key.test.ts', 'a key is made once, for root alone, and stays'],
    ['vpp/wireguard.test.ts', 'its process, and its VPP, are killed: it is the same peer'],
    ['vpp-conn/api-trace.test.ts', 'a private key is sent unrecorded, and recording is as it was found'],
  ],
  'WireGuard: switched on and off, one provider takes the route to a node that the other one needs': [
    [
      'actors/connectivity.test.ts',
      'to WireGuard and back: a route moves when its peer has answered, and the peer goes later',
      'from WireGuard to IPsec: the peer has its prefixes until routes have moved at both ends',
    ],
    ['desired/wireguard.test.ts', 'toggled ten times all is as it was'],
    ['vpp/wireguard.test.ts', 'toggled ten times'],
  ],
  'WireGuard: a route by a next hop that is no node ends the process; that a key is removed, and keys of IPv6, are not heard':
    [
      [
        'desired/wireguard.test.ts',
        'a node without a key, or one that encrypts one family alone, is reached as ever for the rest',
      ],
      [
        'actors/connectivity.test.ts',
        'a key that Felix tells is as good as one of the Node, which goes first',
        'each node without a peer is named, with why and the step to take',
      ],
      ['vpp/wireguard-go.test.ts', 'it has no key any more: nothing is left of it'],
    ],
  'IPsec: of a tunnel that goes its timer stays, and stops all; its routes to nodes stay; one that is dead is not noticed; IPv4 alone':
    [
      [
        'actors/connectivity.test.ts',
        'a tunnel that does not come up has its profile made anew, and no longer when it is up',
        'a tunnel that VPP has taken away is made anew with its profile and routes',
      ],
      [
        'desired/ipsec.test.ts',
        'what goes by IPIP is encrypted, over either family, and nobody but IKE brings the tunnel up',
      ],
    ],
  'IPsec: another key takes another process': [
    ['actors/connectivity.test.ts', 'another key is given to the profile that is there'],
    ['vpp/ipsec.test.ts', 'another key costs nothing'],
  ],
  'SRv6: nothing is ever removed; prefixes come twice; each has the policy made anew': [
    [
      'desired/srv6.test.ts',
      'a node that is gone leaves nothing',
      'prefixes of a node go by its policies, of each family its own, and the node itself, too',
      'the last prefix that goes by a policy takes it along; one that comes in its place keeps it',
      'whatever is told in whatever order, nothing is steered into nothing, and nothing is left',
    ],
    ['vpp/srv6.test.ts', 'the node is gone: nothing of it is left'],
  ],
  'SRv6: each VPP, and each process, takes addresses that nobody gives back': [
    ['desired/srv6.test.ts', 'own SIDs follow from the pools and the name'],
    [
      'actors/connectivity.test.ts',
      'another VPP gets all of it again, and so does the next life, which leaves what is right',
    ],
    [
      'vpp/srv6.test.ts',
      'its process is killed: the next one has the same SIDs and policies, and no others',
      'its VPP is killed: so does the next one',
    ],
  ],
  'SRv6: pods of IPv4 are left out where their node is told by its IPv6 address; what cannot be used is dropped without a word':
    [
      [
        'desired/srv6.test.ts',
        'IPv4 goes to a node that is told by its IPv6 address',
        'what cannot be used is named, and changes nothing',
      ],
    ],
  'services, D1: a slice that is deleted has its old back ends programmed': [
    ['desired/services.test.ts', 'D1, D3: what goes is gone'],
    ['actors/services.test.ts', 'whatever the sequence of changes, VPP has what a fresh start gives it'],
  ],
  'services, D2: conditions of endpoints are not read': [
    [
      'desired/services.test.ts',
      'D2: what is not ready gets nothing; what ends is used where there is no other',
    ],
    ['conformance/services.test.ts', 'services as Kubernetes tests them'],
  ],
  'services, D3: a service that is deleted leaves its routes announced': [
    ['desired/services.test.ts', 'D1, D3: what goes is gone'],
    [
      'desired/local-prefixes.test.ts',
      'an address of a service is announced while VPP serves it, where that is told',
    ],
  ],
  'services, D4, D5: another algorithm, hash or flag is not seen, or not taken': [
    ['desired/services.test.ts', 'D4, D5: another way to choose, or another hash, is another translation'],
  ],
  'services, D6: a numeric targetPort goes before the port of the slice': [
    ['desired/services.test.ts', 'D6: the port is that of the slice, by name and protocol'],
  ],
  'services, D7: all addresses of an endpoint, and doubles': [
    [
      'desired/services.test.ts',
      'D7: each back end once, in the order of numbers; what is here and ready goes before',
    ],
    ['vpp-conn/poison.test.ts', 'a translation: no back end, or one twice'],
  ],
  'services, D8: an endpoint on no node is local': [
    ['desired/services.test.ts', 'Local: by what is here; D8: what is on no node is not'],
  ],
  'services, D9: node ports ignore Local, and all addresses of the node but one': [
    [
      'desired/services.test.ts',
      'D9: node ports are served on every address of the node, and under Local by what is here',
    ],
  ],
  'services, D10: external addresses of headless services and ExternalNames are programmed': [
    ['calico/kinds.test.ts', 'Service: each field; D10: none that is headless or an ExternalName'],
  ],
  'services, D11: who gets an address without having back ends keeps those of the other': [
    [
      'desired/services.test.ts',
      'D11: one who gets an address and port, and has no back ends, does not keep those of the other',
    ],
  ],
  'services, D12: what was deleted while the program was down stays': [
    [
      'actors/services.test.ts',
      'what an earlier life has left goes when all have said what is theirs, and no sooner',
    ],
    [
      'vpp/services.test.ts',
      'killed and started again, with other objects meanwhile: as after a fresh start',
    ],
  ],
  "services, D13: host ports and node ports take each other's place": [
    [
      'actors/services.test.ts',
      'a node port that a pod has as host port is the service’s once the pod lets it go',
    ],
    [
      'reconcile/translation-owners.test.ts',
      'the first has it until it lets it go, and then the others are told',
    ],
  ],
  'services, D14: at the start everything is source NATed': [
    [
      'desired/source-nat.test.ts',
      'D14: addresses, policy and exclusions come before any feature or table of an interface',
    ],
  ],
  'services, D15: each slice has all of its service sent again': [
    ['desired/services.test.ts', 'D15: however many slices of a service come, it is planned once'],
    [
      'actors/services.test.ts',
      'the first sync is one transaction, once services and endpoints are known',
      '500 changes while VPP is busy are two transactions more',
    ],
  ],
  'services, D16: an address is withdrawn after its translation': [
    [
      'actors/services.test.ts',
      'who announces addresses learns of their end a second before it, and of their beginning after',
    ],
  ],
  'services, D17: services of other proxies are served, too': [
    ['calico/kinds.test.ts', 'D17: what is another proxy'],
    ['conformance/services.test.ts', 'services as Kubernetes tests them'],
  ],
  "services, D18: of exclusions from source NAT one owner removes the other's": [
    ['desired/source-nat.test.ts', 'what VPP gets of it'],
  ],
  'policies: pods are open until their first policy, and at each resync': [
    ['policies/compiler.test.ts', 'what Felix has not spoken of is closed, but for the node itself'],
    ['vpp/policies-node.test.ts', 'from the socket to packets, and over each restart'],
  ],
  'policies: another connection of Felix takes all away and makes it anew; rules that are deleted while they are referred to match everything':
    [
      [
        'felix/model.test.ts',
        'nothing is in force before InSync, and the last statement stays in force until the next',
      ],
      [
        'actors/policies.test.ts',
        'on the way from one state to the next no verdict is neither the one nor the other',
      ],
      ['vpp-conn/poison.test.ts', 'npol: nothing refers to what is not there'],
      [
        'vpp/policies-node.test.ts',
        'while policies change, who is always let in is, and who never is is not',
      ],
    ],
  'policies: tiers are one list, and what hands on skips those that follow; default actions are not looked at':
    [
      [
        'policies/compiler.test.ts',
        'a tier hands on whichever of its policies does',
        'a failed expansion closes the endpoint and says so',
        'npol says of every packet what Calico says',
      ],
    ],
  'policies: staged ones are enforced; an endpoint without tiers and profiles is open; its state is not looked at':
    [['policies/compiler.test.ts', 'what Felix has not spoken of is closed, but for the node itself']],
  'policies: ICMP, IP versions and prefixes of one family are left out of rules, which match too much; log ends its policy':
    [
      [
        'policies/compiler.test.ts',
        'an echo is no port, and the only message of ICMP that is judged',
        'what cannot be expressed never allows, whatever it was to say',
        'recordings of a real Felix: npol says of every packet what Calico says',
      ],
      ['vpp/policies.test.ts', 'a real VPP says of every packet what Calico says'],
    ],
  'policies: of a set with ports the removal of a member takes others along': [
    ['vpp-conn/poison.test.ts', 'npol: members of sets of addresses with ports are not removed one by one'],
    ['felix/model.test.ts', 'who takes the changes of a set has its members, whatever was told between'],
  ],
  'policies: of several host endpoints the last one counts, found once and for all; what passes meets profiles':
    [
      [
        'policies/compiler.test.ts',
        'which host endpoint governs an interface',
        'npol says of every packet what Calico says',
      ],
      [
        'actors/uplink.test.ts',
        'what the host changes on its tap goes to VPP and into the journal, once it has settled',
      ],
    ],
  'policies: after a restart of the program alone pods keep what they had, whatever Felix says': [
    [
      'actors/policies-lives.test.ts',
      'the actor begins anew: what VPP has stays in force, and is then replaced without a gap',
      'the process ends at each transaction: the next one adopts, and sweeps what was left',
    ],
    [
      'vpp/policies-node.test.ts',
      'an adopted VPP: what it has of policies stays, and what Felix says changes it',
    ],
  ],
  'policies: what is told of one pod reaches the next one that has its interface; a pod that comes again keeps that of before':
    [
      [
        'writer/npol-writer.test.ts',
        'an interface that is made under the name of another pod is not judged by its policies',
      ],
      [
        'actors/policies-lives.test.ts',
        'what is left of an earlier life is not swept before all pods are known',
      ],
    ],
  'policies: pods may send VXLAN': [
    [
      'policies/compiler.test.ts',
      'npol says of every packet what Calico says',
      'failsafe ports and the other values of the configuration',
    ],
  ],
  'policies: a tunnel that comes while Felix tells everything has none; one that stays loses them': [
    [
      'actors/policies.test.ts',
      'tunnels are judged by the endpoint for all interfaces, and else by that of their uplink',
    ],
    ['actors/connectivity.test.ts', 'a tunnel that VPP does not let go of is judged by its policies'],
  ],
  'policies: what VPP refuses is an error of all, or nobody’s': [
    [
      'writer/npol-writer.test.ts',
      'a policy that VPP refuses is closed, and tried again only after a while',
      'what is to be tried again waits for a round under way, which closes what VPP has refused',
    ],
  ],
  'policies: a pod whose namespace has gone is not removed, and leaks': [
    ['actors/removals.test.ts', 'namespaces that have gone without a DEL do not stop VPP for long'],
  ],
  'policies: doNotTrack and preDNAT do nothing, and nobody says so': [
    [
      'policies/compiler.test.ts',
      'doNotTrack and preDNAT are honoured where VPP sees the same, and told where not',
    ],
  ],
  'policies: IPv4 options pass them; what else VPP does not judge is told nowhere': [
    [
      'vpp/doors.test.ts',
      'IPv4 packets with options: kept from the host, or told as a door',
      'a VPP of its own tells of its doors what packets between pods tell, and is gone',
      'doors that were seen open on VPP',
    ],
    ['policies/door-trial.test.ts', 'each door is told by its own packets, and by nothing else'],
    ['node/doors.test.ts', 'doors are tried a minute after the beginning, told once, and shown'],
  ],
  'networks: those of one physical network share their tables, and the default network’s': [
    [
      'desired/networks.test.ts',
      'tables of networks are nobody else’s',
      'routes of two networks with one range',
    ],
    ['vpp/networks.test.ts', 'two networks with the same range on two nodes', 'nobody else is reached'],
  ],
  'networks: one without its physical network, or a definition that is no JSON, stops the reading of all, and with it CNI; of two with one VNI the tables are one':
    [
      ['desired/networks.test.ts', 'which networks can be had'],
      ['vpp/networks.test.ts', 'objects that are wrong are said so, and disturb nobody'],
    ],
  'networks: a definition of one plugin is not seen, of several that name networks the last one counts': [
    ['calico/kinds.test.ts', 'NetworkAttachmentDefinition: the network of its plugins'],
  ],
  'networks: a change of one is not heard; one that is deleted leaves its pods their ways, and their DEL removes routes of the default table':
    [
      [
        'actors/networks.test.ts',
        'a network goes under its pod, and comes back',
        'what becomes of other networks is nothing to a pod, until it asks for one of them',
      ],
      [
        'desired/networks.test.ts',
        'one of them goes, and comes back with another VNI',
        'its range is another',
      ],
      [
        'vpp/networks-traffic.test.ts',
        'a range is widened under its pods',
        'a network goes while pods come into it, again and again',
      ],
      ['vpp/networks.test.ts', 'a network is deleted under its pods, and comes back with another VNI'],
    ],
  'networks: a route of one that is not known ends the process; tunnels are by the first uplink where none is of the physical network; an adopted tunnel is made a second time':
    [
      ['desired/networks.test.ts', 'routes that cannot be', 'where packets of networks go'],
      ['vpp/networks-bgp.test.ts', 'addresses that BGP tells', 'VPP of a node is killed, then its process'],
    ],
  'networks: policies never meet the interfaces of a network; one that comes behind its policies drops the stream; removal leaves variants':
    [
      ['felix/wire.test.ts', 'a rule says by its annotation which network it is for'],
      [
        'policies/compiler.test.ts',
        'of a policy the rules for a network hold in that network, and nowhere else',
        'a network that comes behind its policies, and policies that go',
      ],
      [
        'actors/policies.test.ts',
        'interfaces and tunnels of a network are judged by the rules that are for it',
      ],
      ['vpp/networks-traffic.test.ts', 'policies: each rule holds in its own network'],
    ],
  'networks: annotations for memif and VCL of a pod leak into its other interfaces; that of a memif there is overwritten; it has neither policies nor anti-spoofing':
    [
      [
        'cni/request.test.ts',
        'memif and VCL of the primary do not concern a secondary interface',
        'and without Ethernet by its annotation',
      ],
      ['desired/pod.test.ts', 'a memif into a network beside the default one is alone'],
      ['vpp/networks-traffic.test.ts', 'a memif is the way into a network'],
    ],
  'networks: a service whose address lies in a range takes that address from the pods of the network': [
    ['desired/services.test.ts', 'an address in the range of a network is nobody’s to serve'],
    ['vpp/networks-traffic.test.ts', 'a service whose back ends are addresses of a network'],
  ],
  'networks: a bare name of one that is not known is an answer without a body': [
    ['actors/networks.test.ts', 'a network that is not there', 'a network goes during an ADD'],
  ],
  'policies: a bad rule, a second configuration or an unknown message ends the stream, again and again': [
    ['actors/felix.test.ts', 'bad input: the stream lives on, and is reported'],
    ['felix/model.test.ts', 'what contradicts the stream is told by its object, and the stream goes on'],
    ['policies/compiler.test.ts', 'what cannot be expressed never allows, whatever it was to say'],
  ],
  'policies: without a Felix nobody reads events, and CNI stands still': [
    [
      'actors/felix.test.ts',
      'what Felix says goes on in its order, and no faster than it is taken in',
      'a mailbox that is full loses nothing',
    ],
  ],
  'policies: Return of endpoints to the host is taken for Drop': [
    ['policies/compiler.test.ts', 'failsafe ports and the other values of the configuration'],
  ],
  'policies: nothing is told to Felix, and the CNI plugin cannot wait': [
    ['actors/felix.test.ts', 'statuses go to a Felix that knows its endpoints, and into files'],
    [
      'node/felix.test.ts',
      'files of endpoints follow what is wanted; what an earlier life left goes once all is known',
    ],
  ],
  'policies: the driver of Felix is there in parts, gives up after some seconds, and takes frames of any length':
    [
      ['node/felix.test.ts', 'the driver is where Felix starts it, whole, or not at all'],
      ['native/felix-api-proxy.test.ts', 'waits for a node that does not listen yet, and has lost nothing'],
      ['felix/wire.test.ts', 'an absurd length is a fault before a byte of it is kept'],
      ['node/felix.test.ts', 'the socket: an old one goes, a file does not, what listens is left alone'],
    ],
};

/** This file is out/test/conformance/defects.test.js. */
const sources = fileURLToPath(new URL('../../../test/', import.meta.url));

t.test('each defect has a test that keeps it out', async (t) => {
  const texts = new Map<string, string>();
  const textOf = (file: string): string => {
    const text = texts.get(file) ?? readFileSync(`${sources}${file}`, 'utf8');
    texts.set(file, text);
    return text;
  };
  for (const [defect, kept] of Object.entries(defects)) {
    const missing = kept.flatMap(([file, ...names]) => {
      const text = textOf(file);
      return names
        .filter((name) => !["'", '"', '`'].some((quote) => text.includes(`${quote}${name}`)))
        .map((name) => `${file}: ${name}`);
    });
    t.strictSame(missing, [], defect);
    t.ok(kept.length > 0);
  }
});
