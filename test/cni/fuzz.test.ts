/** Whatever is written into a request, an annotation, a document or a file: it gets an answer, and what is accepted can be carried out. */
import { isDeepStrictEqual } from 'node:util';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { annotation, type PodLimits } from '../../src/cni/annotations.js';
import { AddRequestSchema } from '../../src/cni/generated/cni_pb.js';
import { importGoState } from '../../src/cni/go-state.js';
import { parseAddRequest, parseDelRequest } from '../../src/cni/request.js';
import { interface_spec_default } from '../../src/config/interface-spec.js';
import { ConfigError, loadConfig } from '../../src/config.js';
import { desiredPod, podChanges, podMtu, podSysctls } from '../../src/desired/pod.js';
import { podTables } from '../../src/desired/tables.js';
import { keyOf } from '../../src/objects/object.js';
import { decodeRecord, encodeRecord, recordFileName } from '../../src/pod/record.js';
import type { PodSpec } from '../../src/pod/spec.js';
import { reconcile } from '../../src/reconcile/reconcile.js';

const limits: PodLimits = {
  default_spec: interface_spec_default,
  gates: { memif: true, vcl: true, multinet: true },
  source_spoofing: 'Any',
};

const nested = (depth: number, open = '[', close = ']'): string => open.repeat(depth) + close.repeat(depth);
const deep = fc
  .tuple(
    fc.integer({ min: 1, max: 6000 }),
    fc.constantFrom<[string, string]>(['[', ']'], ['{"a":', '}'], ['[', '']),
  )
  .map(([depth, [open, close]]) => nested(depth, open, close));

const address = fc.oneof(
  { weight: 6, arbitrary: fc.ipV4() },
  { weight: 3, arbitrary: fc.ipV6() },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', '::', '0.0.0.0', '255.255.255.255', 'fe80::1%eth0', '::ffff:10.0.0.1'),
  },
);
const prefix = fc.tuple(address, fc.integer({ min: 0, max: 130 })).map(([ip, length]) => `${ip}/${length}`);
const word = fc.oneof(
  fc.constantFrom(
    'eth0',
    'net1',
    'lo',
    'all',
    '.',
    '..',
    '__proto__',
    'constructor',
    'memif0',
    'a/b',
    '%d',
    '',
  ),
  fc.string({ maxLength: 20, unit: 'binary' }),
);
const scalar = fc.oneof(
  fc.constantFrom<unknown>(
    0,
    1,
    2,
    1024,
    32768,
    -1,
    1.5,
    1e300,
    2 ** 53,
    true,
    false,
    null,
    '',
    'polling',
    'default',
  ),
  word,
  address,
  prefix,
);
const { tree: json } = fc.letrec((tie) => ({
  tree: fc.oneof({ maxDepth: 4, withCrossShrink: true }, scalar, tie('list'), tie('object')),
  list: fc.array(tie('tree'), { maxLength: 4 }),
  object: fc.dictionary(
    fc.oneof(
      fc.constantFrom('eth0', 'rx', 'tx', 'rxqsz', 'txqsz', 'isl3', 'rxMode', '__proto__', 'toString'),
      word,
    ),
    tie('tree'),
    { maxKeys: 5 },
  ),
}));
const text = fc.oneof(
  { weight: 4, arbitrary: json.map((value) => JSON.stringify(value) ?? '') },
  { weight: 2, arbitrary: fc.array(prefix, { maxLength: 4 }).map((list) => JSON.stringify(list)) },
  {
    weight: 2,
    arbitrary: fc
      .record({ eth0: fc.record({ rx: scalar, rxqsz: scalar, rxMode: scalar, isl3: scalar }) })
      .map((spec) => JSON.stringify(spec)),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 40, unit: 'binary' }) },
  { weight: 1, arbitrary: fc.constantFrom('', ' ', 'null', '""', 'enable', 'tcp:1-2', '[', '"\\', '1e999') },
);
const annotations = fc.dictionary(fc.constantFrom(...Object.values(annotation), '__proto__', 'other'), text, {
  maxKeys: 2,
});

const sometimes = <T>(usual: T, odd: fc.Arbitrary<T>, weight = 8): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: odd });
const u32 = sometimes(
  80,
  fc.oneof(fc.integer({ min: 0, max: 65536 }), fc.constantFrom(2 ** 32 - 1, 1 << 30)),
);
const request = fc.record({
  interfaceName: sometimes('eth0', word),
  netns: sometimes(
    '/var/run/netns/a',
    fc.oneof(word, fc.constantFrom('/proc/self/ns/net', '/', '/x'.repeat(40))),
  ),
  mtu: sometimes(
    0,
    fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.integer({ min: 60, max: 9300 })),
    2,
  ),
  ips: fc.array(sometimes('10.0.0.1/32', fc.oneof(prefix, word), 4), { minLength: 1, maxLength: 3 }),
  routes: fc.array(sometimes('0.0.0.0/0', fc.oneof(prefix, word), 5), { maxLength: 3 }),
  network: sometimes('', word),
  annotations: sometimes({}, annotations, 1),
  pod: sometimes('web', word),
  ports: fc.array(
    fc.record({ protocol: sometimes('TCP', word), port: u32, hostPort: u32, hostIp: sometimes('', address) }),
    { maxLength: 3 },
  ),
});
type Request = typeof request extends fc.Arbitrary<infer R> ? R : never;

function asRequest(of: Request) {
  return create(AddRequestSchema, {
    interfaceName: of.interfaceName,
    netns: of.netns,
    settings: { mtu: of.mtu, allowIpForwarding: of.mtu % 2 === 1 },
    containerIps: of.ips.map((ip) => ({ address: ip })),
    containerRoutes: of.routes,
    dataplaneOptions: { network_name: of.network },
    workload: { namespace: 'default', pod: of.pod, annotations: of.annotations, ports: of.ports },
  });
}

/** What is done with a spec before and behind VPP. */
function carryOut(spec: PodSpec): void {
  const record = { phase: 'done', spec, tables: { ip4: 0x0100_0000 } } as const;
  const file = encodeRecord(record);
  const read = decodeRecord(file, recordFileName(spec.key));
  if (!('ok' in read)) throw new Error(`the record ${read.text}`);
  if (!isDeepStrictEqual(read.ok, record)) throw new Error('the record is another');
  const objects = desiredPod(spec, {
    tables: podTables(0),
    mtu: podMtu(spec, 1500),
    gso: true,
    node: { ip4: '192.0.2.1', ip6: '2001:db8::1' },
    redirects: [4, 6],
    workers: 2,
    held: false,
    default_verdict: 'deny',
  });
  const keys = new Set(objects.map(keyOf));
  if (keys.size !== objects.length) throw new Error('two objects have one key');
  if (reconcile(objects, objects).length > 0) throw new Error('it is never as it should be');
  for (const change of podChanges(spec, 2, 1500)) JSON.stringify(change);
  for (const { path } of podSysctls(spec)) if (path.includes('..')) throw new Error(path);
}

function fuzz<T>(t: Test, runs: number, inputs: fc.Arbitrary<T>, check: (input: T) => boolean): void {
  let accepted = 0;
  fc.assert(
    fc.property(inputs, (input) => {
      if (check(input)) accepted += 1;
    }),
    { numRuns: runs },
  );
  t.comment(`${accepted} of ${runs} accepted`);
  t.ok(accepted > runs / 100, 'the way of what is accepted is gone too');
}

t.test('ADD', async (t) => {
  fuzz(t, 36_000, request, (input) => {
    const parsed = parseAddRequest(asRequest(input), limits);
    if ('error' in parsed) {
      if (parsed.error.length > 4000) throw new Error(`an answer of ${parsed.error.length} characters`);
      return false;
    }
    carryOut(parsed.ok);
    return true;
  });
});

t.test('ADD, with what is nested or long in every annotation', async (t) => {
  const lengths = fc.oneof(
    deep,
    fc.integer({ min: 0, max: 200_000 }).map((n) => JSON.stringify('x'.repeat(n))),
  );
  const hostile = fc.tuple(fc.constantFrom(...Object.values(annotation)), lengths, fc.boolean());
  fuzz(t, 300, hostile, ([name, value, wrapped]) => {
    const annotations = { [name]: wrapped ? `{"eth0":${value}}` : value };
    const base = {
      interfaceName: 'eth0',
      netns: '/n',
      mtu: 0,
      ips: ['10.0.0.1/32'],
      routes: [],
      network: '',
    };
    const parsed = parseAddRequest(asRequest({ ...base, annotations, pod: 'web', ports: [] }), limits);
    return 'ok' in parsed || parsed.error.length < 4000;
  });
});

t.test('ADD and DEL, with names without end', async (t) => {
  const endless = 'x'.repeat(1 << 20);
  for (const change of [{ pod: endless }, { interfaceName: endless }, { netns: `/${endless}` }]) {
    const base = {
      interfaceName: 'eth0',
      netns: '/n',
      mtu: 0,
      ips: ['10.0.0.1/32'],
      routes: [],
      network: '',
    };
    const parsed = parseAddRequest(
      asRequest({ ...base, annotations: {}, pod: 'web', ports: [], ...change }),
      limits,
    );
    t.ok('error' in parsed && parsed.error.length < 2000, JSON.stringify(Object.keys(change)));
  }
  t.match(parseDelRequest({ netns: endless, interfaceName: endless }), { nothing: /interface_name/ });
});

t.test('DEL', async (t) => {
  fuzz(
    t,
    10_000,
    fc.record({ netns: sometimes('/n', word, 2), interfaceName: word }),
    (input) => 'ok' in parseDelRequest(input),
  );
});

const go_pod = {
  interfaceName: 'eth0',
  netnsName: '/n',
  allowIpForwarding: false,
  routes: [{ IP: '0.0.0.0', Mask: 'AAAAAA==' }],
  containerIps: ['10.0.0.1'],
  mtu: 0,
  orchestratorID: 'k8s',
  workloadID: 'default/web',
  endpointID: 'eth0',
  hostPorts: [{ HostPort: 80, HostIP: '', ContainerPort: 80, Protocol: 'tcp' }],
  networkName: '',
  podAnnotations: {
    allowedSpoofingPrefixes: [{ IP: '10.1.0.0', Mask: '//8AAA==' }],
    ifSpec: { rx: 1, tx: 1, rxqsz: 1024, txqsz: 1024, isl3: true, rxMode: 'adaptive' },
  },
};
const go_path = fc.constantFrom(
  ...Object.keys(go_pod).map((key) => [key]),
  ['routes', '0', 'IP'],
  ['routes', '0', 'Mask'],
  ['hostPorts', '0', 'HostPort'],
  ['hostPorts', '0', 'Protocol'],
  ['podAnnotations', 'ifSpec', 'rx'],
  ['podAnnotations', 'ifSpec', 'rxMode'],
  ['podAnnotations', 'allowedSpoofingPrefixes', '0', 'Mask'],
);

/** The value with another at this place. */
function changed(value: unknown, [key, ...rest]: readonly string[], to: unknown): unknown {
  if (key === undefined) return to;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>;
  copy[key] = changed(copy[key], rest, to);
  return copy;
}

t.test('the state of the Go implementation', async (t) => {
  const inputs = fc.tuple(go_path, sometimes<unknown>('', json, 0), fc.constantFrom(9, 10, 11), fc.boolean());
  fuzz(t, 5000, inputs, ([path, value, version, keep]) => {
    const pod = changed(go_pod, path, value);
    const podSpecs = {
      'netns:/n,if:eth0': pod,
      ...(keep && { 'netns:/m,if:eth0': { ...go_pod, netnsName: '/m' } }),
    };
    const { specs } = importGoState(JSON.stringify({ version, podSpecs }));
    if (keep && !specs.some(({ netns }) => netns === '/m')) throw new Error('it costs another pod');
    for (const spec of specs) carryOut(spec);
    return specs.length > (keep ? 1 : 0);
  });
  fuzz(t, 5000, fc.oneof(text, deep), (input) => importGoState(input).problems.length > 0);
  for (const hostile of [nested(5000), `{"version":11,"podSpecs":{"k":${nested(5000)}}}`])
    t.ok(importGoState(hostile).problems.length > 0);
});

t.test('records', async (t) => {
  const parsed = parseAddRequest(
    asRequest({
      interfaceName: 'eth0',
      netns: '/n',
      mtu: 0,
      ips: ['10.0.0.1/32', 'fd00::1/128'],
      routes: ['0.0.0.0/0'],
      network: '',
      annotations: { [annotation.allowed_source_prefixes_go]: '["10.1.0.0/16"]' },
      pod: 'web',
      ports: [{ protocol: 'TCP', port: 80, hostPort: 80, hostIp: '' }],
    }),
    limits,
  );
  if (!('ok' in parsed)) throw new Error(parsed.error);
  const record = { phase: 'done', spec: parsed.ok, tables: { ip4: 0x0100_0000 } } as const;
  const name = recordFileName(parsed.ok.key);
  const place = fc.constantFrom(
    ['phase'],
    ['spec'],
    ['tables', 'ip4'],
    ...Object.keys(parsed.ok).map((key) => ['spec', key]),
    ['spec', 'addresses', 'ip4', '0'],
    ['spec', 'routes', '0'],
    ['spec', 'host_ports', '0', 'host_port'],
    ['spec', 'host_ports', '0', 'host_ip'],
    ['spec', 'interface_spec', 'rx_queues'],
    ['spec', 'allowed_source_prefixes', '0'],
  );
  const valued = fc.tuple(place, fc.oneof(json, prefix, address));
  fuzz(t, 10_000, valued, ([path, value]) => {
    const read = decodeRecord(encodeRecord(changed(record, path, value) as typeof record), name);
    if (!('ok' in read)) return false;
    carryOut(read.ok.spec);
    return true;
  });
  fuzz(t, 5000, fc.oneof(text, deep), (input) => !('ok' in decodeRecord(input, name)));
  const envelope = (pod: string) => `{"format":"calico-vpp-node pod","version":1,"sha256":"","pod":${pod}}`;
  t.match(decodeRecord(envelope(nested(5000)), name), { fault: 'corrupt' });
});

t.test('documents of the configuration', async (t) => {
  const names = [
    'CALICOVPP_INTERFACES',
    'CALICOVPP_INITIAL_CONFIG',
    'CALICOVPP_FEATURE_GATES',
    'CALICOVPP_DEBUG',
  ];
  const base = { NODENAME: 'node', CALICOVPP_INTERFACES: '{"uplinkInterfaces":[{"interfaceName":"eth0"}]}' };
  fuzz(t, 3000, fc.tuple(fc.constantFrom(...names), text), ([name, value]) => {
    try {
      loadConfig({ ...base, [name]: value });
      return true;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return false;
    }
  });
  for (const name of names) {
    for (const value of [nested(5000), nested(5000, '{"a":', '}'), `{"uplinkInterfaces":${nested(5000)}}`]) {
      t.throws(() => loadConfig({ ...base, [name]: value }), { name: 'ConfigError' }, name);
    }
  }
});
