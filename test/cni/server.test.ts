import { once } from 'node:events';
import { existsSync, linkSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials, status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { cniAdd, cniDel } from '../../lab/cni-driver.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import {
  AddReplySchema,
  AddRequestSchema,
  CniDataplane,
  ContainerSettingsSchema,
  DelReplySchema,
  DelRequestSchema,
  IPConfigSchema,
  PortSchema,
  WorkloadIDsSchema,
} from '../../src/cni/generated/cni_pb.js';
import {
  type CniCall,
  type CniHandlers,
  type CniServerOptions,
  container_mac,
  startCniServer,
} from '../../src/cni/server.js';
import type { Log } from '../../src/log.js';

const netns = '/var/run/netns/blue';
const ips = ['10.0.0.5/32'];

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {}, child: () => silent };

/** A handler whose calls stand until the test settles them. */
function held() {
  const calls: {
    call: CniCall;
    settle: (host_interface_name: string) => void;
    refuse: (why: unknown) => void;
  }[] = [];
  let arrived: (() => void) | undefined;
  return {
    calls,
    handler: (_request: unknown, call: CniCall) =>
      new Promise<{ successful: true; hostInterfaceName: string }>((resolve, reject) => {
        calls.push({
          call,
          settle: (hostInterfaceName) => resolve({ successful: true, hostInterfaceName }),
          refuse: reject,
        });
        arrived?.();
      }),
    async arrivals(count: number) {
      while (calls.length < count) await new Promise<void>((resolve) => (arrived = resolve));
    },
  };
}

const ok: CniHandlers = {
  add: async () => ({ successful: true, hostInterfaceName: 'vpp-tun-7' }),
  del: async () => ({ successful: true }),
};

/** Not tap's testdir: its paths are too long for a socket. */
function shortDirectory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'cni-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function start(t: Test, handlers: Partial<CniHandlers>, options: Partial<CniServerOptions> = {}) {
  const socket = join(shortDirectory(t), 'cni', 'server.sock');
  const clock = new TurnedClock();
  const server = await startCniServer({
    path: socket,
    handlers: { ...ok, ...handlers },
    log: silent,
    clock,
    ...options,
  });
  t.teardown(async () => {
    const stopped = server.stop();
    await clock.advance(5000);
    await stopped;
  });
  return { socket, clock, server };
}

t.test('the wire format is that of the plugin', async (t) => {
  t.equal(CniDataplane.typeName, 'cni.CniDataplane');
  t.strictSame(
    CniDataplane.methods.map((method) => method.name),
    ['Add', 'Del'],
  );
  const numbers = (schema: typeof AddRequestSchema | typeof PortSchema | typeof DelReplySchema) =>
    schema.fields.map((field) => `${field.number} ${field.name}`).join(', ');
  t.equal(
    numbers(AddRequestSchema),
    '1 interface_name, 2 netns, 3 desired_host_interface_name, 4 settings, 5 container_ips, 6 container_routes, 7 workload, 8 dataplane_options',
  );
  t.equal(numbers(ContainerSettingsSchema as never), '1 allow_ip_forwarding, 2 mtu');
  t.equal(numbers(IPConfigSchema as never), '1 address, 2 gateway');
  t.equal(
    numbers(WorkloadIDsSchema as never),
    '1 name, 2 namespace, 3 labels, 4 annotations, 5 endpoint, 6 node, 7 orchestrator, 8 pod, 9 ports',
  );
  t.equal(numbers(PortSchema), '1 name, 2 protocol, 3 port, 4 host_port, 5 host_ip');
  t.equal(
    numbers(AddReplySchema as never),
    '1 successful, 2 error_message, 3 host_interface_name, 4 container_mac',
  );
  t.equal(numbers(DelRequestSchema as never), '1 interface_name, 2 netns, 3 dataplane_options');
  t.equal(numbers(DelReplySchema), '1 successful, 2 error_message');
});

t.test('ADD and DEL reach the handlers and their answers the caller', async (t) => {
  const seen: unknown[] = [];
  const { socket } = await start(t, {
    add: async (request) => {
      seen.push(request);
      return { successful: true, hostInterfaceName: 'vpp-tun-7' };
    },
    del: async (request) => {
      seen.push(request);
      return { successful: true };
    },
  });
  t.match(
    await cniAdd({
      socket,
      netns,
      ips,
      mtu: 1400,
      namespace: 'shop',
      pod: 'web',
      annotations: { a: 'b' },
      ports: [{ protocol: 'UDP', port: 53, host_port: 5353, host_ip: '192.0.2.1' }],
    }),
    { successful: true, hostInterfaceName: 'vpp-tun-7', containerMac: container_mac, errorMessage: '' },
  );
  t.match(await cniDel({ socket, netns }), { successful: true, errorMessage: '' });
  t.match(seen, [
    {
      interfaceName: 'eth0',
      netns,
      settings: { mtu: 1400, allowIpForwarding: false },
      containerIps: [{ address: '10.0.0.5/32' }],
      containerRoutes: ['0.0.0.0/0', '::/0'],
      dataplaneOptions: { type: 'grpc', socket: `unix://${socket}` },
      workload: {
        namespace: 'shop',
        pod: 'web',
        orchestrator: 'k8s',
        endpoint: 'eth0',
        annotations: { a: 'b' },
        ports: [{ protocol: 'UDP', port: 53, hostPort: 5353, hostIp: '192.0.2.1' }],
      },
    },
    { interfaceName: 'eth0', netns },
  ]);
});

t.test('whatever a handler does becomes a reply, with a MAC that parses', async (t) => {
  const failures: [
    name: string,
    handler: () => Promise<{ successful: false; errorMessage: string }>,
    text: string,
  ][] = [
    [
      'a rejection',
      () => Promise.reject(new Error('VPP is not reachable: retry')),
      'VPP is not reachable: retry',
    ],
    ['a rejection with no error', () => Promise.reject('odd'), 'odd'],
    [
      'an exception',
      () => {
        throw new TypeError('broken');
      },
      'broken',
    ],
    ['a failure as answer', async () => ({ successful: false, errorMessage: 'no' }), 'no'],
  ];
  for (const [name, handler, text] of failures) {
    const { socket, server } = await start(t, { add: handler, del: handler });
    t.match(
      await cniAdd({ socket, netns, ips }),
      { successful: false, errorMessage: text, containerMac: container_mac },
      name,
    );
    t.match(await cniDel({ socket, netns }), { successful: false, errorMessage: text }, name);
    t.equal(server.callsInProgress(), 0);
  }
});

t.test(
  "a handler gets the caller's deadline; at its end the caller gets an answer and the handler an abort",
  async (t) => {
    const add = held();
    const { socket, clock, server } = await start(t, { add: add.handler });
    const reply = cniAdd({ socket, netns, ips, pod: 'slow' });
    await add.arrivals(1);
    const { call, settle } = add.calls[0]!;
    t.ok(
      call.deadline_ms > clock.now_ms() && call.deadline_ms <= clock.now_ms() + 4750,
      'within the five seconds, with a margin',
    );
    await clock.advance(4750);
    t.match(await reply, {
      successful: false,
      errorMessage: /^pod default\/slow eth0: not done within \d+ ms.*retry$/,
      containerMac: container_mac,
    });
    t.equal(call.signal.aborted, true);
    t.equal(server.callsInProgress(), 1, 'the call counts until its handler has settled');
    settle('late');
    await clock.advance(0);
    t.equal(server.callsInProgress(), 0);
  },
);

t.test('a caller that gives up aborts its handler and no other', async (t) => {
  const add = held();
  const { socket } = await start(t, { add: add.handler });
  const giving_up = new AbortController();
  const lost = cniAdd({ socket, netns, ips, signal: giving_up.signal });
  await add.arrivals(1);
  const kept = cniAdd({ socket, netns: '/var/run/netns/red', ips });
  await add.arrivals(2);
  const [first, second] = add.calls;
  const aborted = once(first!.call.signal, 'abort');
  giving_up.abort();
  await t.rejects(lost, { code: status.CANCELLED });
  await aborted;
  t.match(first!.call.signal.reason, { message: 'cancelled by the caller' });
  first!.refuse(first!.call.signal.reason);
  t.equal(second!.call.signal.aborted, false);
  second!.settle('vpp-tun-1');
  t.match(await kept, { successful: true });
});

t.test('a flood is refused at once beyond the bound, and served again when calls have ended', async (t) => {
  const add = held();
  const { socket, server } = await start(t, { add: add.handler }, { calls_max: 8 });
  const admitted = Array.from({ length: 8 }, (_, i) => cniAdd({ socket, netns: `/n/${i}`, ips }));
  await add.arrivals(8);
  const refused = await Promise.all(
    Array.from({ length: 30 }, (_, i) => cniAdd({ socket, netns: `/m/${i}`, ips })),
  );
  for (const reply of refused) {
    t.match(reply, {
      successful: false,
      errorMessage: /8 CNI calls are in progress on this node, the most it takes: retry/,
      containerMac: container_mac,
    });
  }
  t.equal(server.callsInProgress(), 8);
  for (const { settle } of add.calls) settle('vpp-tun-1');
  t.ok((await Promise.all(admitted)).every((reply) => reply.successful));
  const next = cniAdd({ socket, netns: '/n/9', ips });
  await add.arrivals(9);
  add.calls[8]!.settle('vpp-tun-2');
  t.match(await next, { successful: true, hostInterfaceName: 'vpp-tun-2' });
});

t.test('110 pods at once are all served', async (t) => {
  const { socket } = await start(t, {});
  const replies = await Promise.all(
    Array.from({ length: 110 }, (_, i) => cniAdd({ socket, netns: `/n/${i}`, ips })),
  );
  t.ok(replies.every((reply) => reply.successful));
});

t.test('stopping lets calls end for a moment, then fails them, and leaves no socket', async (t) => {
  const add = held();
  const { socket, clock, server } = await start(t, { add: add.handler });
  const quick = cniAdd({ socket, netns, ips });
  const stuck = cniAdd({ socket, netns: '/var/run/netns/red', ips });
  await add.arrivals(2);
  const stopped = server.stop();
  add.calls[0]!.settle('vpp-tun-1');
  add.calls[1]!.call.signal.addEventListener('abort', () => add.calls[1]!.refuse(new Error('rolled back')));
  t.match(await quick, { successful: true });
  await clock.advance(1000);
  t.match(await stuck, { successful: false, errorMessage: /the dataplane is stopping: retry|rolled back/ });
  await stopped;
  t.equal(existsSync(socket), false);
  await t.rejects(cniAdd({ socket, netns, ips }), { code: status.UNAVAILABLE });
});

t.test('the socket', async (t) => {
  await t.test('only its owner may connect', async (t) => {
    const { socket } = await start(t, {});
    t.equal(statSync(socket).mode & 0o777, 0o600);
  });

  await t.test('one that a dead process left is replaced', async (t) => {
    const dir = shortDirectory(t);
    const left = join(dir, 'left.sock');
    const listener = createServer().listen(join(dir, 'first.sock'));
    await once(listener, 'listening');
    // Closing removes the name that was bound; the other one is left as a crash leaves it.
    linkSync(join(dir, 'first.sock'), left);
    listener.close();
    await once(listener, 'close');
    t.equal(statSync(left).isSocket(), true);
    await start(t, {}, { path: left });
    t.match(await cniAdd({ socket: left, netns, ips }), { successful: true });
  });

  await t.test('one that is served is left alone', async (t) => {
    const { socket } = await start(t, {});
    await t.rejects(start(t, {}, { path: socket }), {
      message: `${socket} is served by another process: stop it first`,
    });
    t.match(await cniAdd({ socket, netns, ips }), { successful: true });
  });

  await t.test('a path that would be cut is refused', async (t) => {
    const path = join(shortDirectory(t), 'x'.repeat(100));
    await t.rejects(start(t, {}, { path }), { message: /is longer than the 107 bytes of a socket's path/ });
  });

  await t.test('anything else at the path is left alone', async (t) => {
    const path = join(shortDirectory(t), 'file');
    writeFileSync(path, 'precious');
    await t.rejects(start(t, {}, { path }), {
      message: `${path} is not a socket: remove it, or configure another path`,
    });
    t.equal(statSync(path).size, 8);
  });
});

t.test('what is no request at all costs nobody else anything', async (t) => {
  const seen: unknown[] = [];
  const { socket } = await start(t, {
    add: async (request) => {
      seen.push(request);
      return { successful: true, hostInterfaceName: 'vpp-tun-7' };
    },
  });
  const bytes = [
    Buffer.from('ff'.repeat(40), 'hex'),
    Buffer.from('0a05ff', 'hex'),
    Buffer.alloc(1 << 16, 0x0a),
  ];
  const client = new Client(`unix:${socket}`, credentials.createInsecure());
  t.teardown(() => client.close());
  for (const verb of ['Add', 'Del']) {
    for (const request of bytes) {
      const path = `/cni.CniDataplane/${verb}`;
      const code = await new Promise((resolve) => {
        client.makeUnaryRequest(
          path,
          (b: Buffer) => b,
          (b: Buffer) => b,
          request,
          (error) => resolve(error?.code),
        );
      });
      t.equal(code, status.INTERNAL, `${verb} ${request.length}`);
    }
  }
  t.strictSame(seen, []);
  t.match(await cniAdd({ socket, netns, ips, pod: 'x'.repeat(100_000) }), { successful: true });
});
