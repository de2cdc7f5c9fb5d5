/** Bytes on Felix's socket to npol, by both actors: what is no policy costs itself alone, and is told by its name. */
import { create, toBinary } from '@bufbuild/protobuf';
import t from 'tap';
import { verdict } from '../../lab/vpp/npol-verdict.js';
import { felixActor } from '../../src/actors/felix.js';
import { frame } from '../../src/felix/frames.js';
import { PolicyIDSchema } from '../../src/felix/generated/felix_pb.js';
import type { FelixSocket, SocketEvents } from '../../src/felix/stream.js';
import type { FelixKeysTold } from '../../src/messages/connectivity.js';
import type { FelixActorMessage } from '../../src/messages/felix.js';
import { bytesOf } from '../felix/stream.js';
import { flowOf } from '../policies/scenes.js';
import { PoliciesLab, tcp } from './policies-lab.js';

class Socket implements FelixSocket {
  readonly sent: Uint8Array[] = [];
  closed = false;
  events!: SocketEvents;
  read = (): Uint8Array | null => this.sent.shift() ?? null;
  write = (): boolean => true;
  close(): void {
    this.closed = true;
  }
}

const message = (...of: Parameters<typeof bytesOf>): Uint8Array => frame(bytesOf(...of));
const config = message({ payload: { case: 'configUpdate', value: { config: {} } } });
const in_sync = message({ payload: { case: 'inSync', value: {} } });
const id = { kind: 'NetworkPolicy', namespace: 'a', name: '1' };
const policy = (rules: readonly object[]): Uint8Array =>
  message({
    payload: { case: 'activePolicyUpdate', value: { id, policy: { inboundRules: rules as [] } } },
  });
const endpoint = message({
  payload: {
    case: 'workloadEndpointUpdate',
    value: {
      id: { orchestratorId: 'k8s', workloadId: 'shop/web', endpointId: 'eth0' },
      endpoint: {
        state: 'active',
        name: 'cali0',
        tiers: [
          {
            name: 'default',
            ingressPolicies: [toBinary(PolicyIDSchema, create(PolicyIDSchema, id))],
            defaultAction: 'Deny',
          },
        ],
      },
    },
  },
});

t.test('bad input: the stream lives on, the object is named, and nothing opens', async (t) => {
  const lab = await PoliciesLab.start(t);
  let accept!: (socket: FelixSocket) => SocketEvents;
  lab.makeFelix = (kit) => {
    const files = { set: () => {}, sweep: () => {}, retry: () => {}, faults: new Map(), count: 0 };
    const listen = async (taking: typeof accept) => {
      accept = taking;
      return { close: () => {} };
    };
    const connectivity = kit.mailbox<FelixKeysTold>('connectivity').ref;
    const deps = { listen, install: async () => 'is there', files, connectivity, report: () => {} };
    kit.system.spawn(felixActor(deps, { socket_path: '/run/felix.sock' })).catch(() => {});
    return kit.system.ref<FelixActorMessage>('root/felix');
  };
  await lab.begin(t);
  await lab.newVpp();
  await lab.nodeReady();
  lab.putPod();
  const connect = async (...chunks: readonly Uint8Array[]): Promise<Socket> => {
    const socket = new Socket();
    socket.events = accept(socket);
    await send(socket, ...chunks);
    return socket;
  };
  const send = async (socket: Socket, ...chunks: readonly Uint8Array[]): Promise<void> => {
    socket.sent.push(...chunks);
    socket.events.readable();
    await lab.rest();
  };
  const lets_in = () => verdict(lab.npol, 1, false, flowOf(tcp('10.0.0.3', '10.0.0.2', 80)));
  const whole = [config, policy([{ action: 'allow' }]), endpoint, in_sync];

  const socket = await connect(...whole);
  t.equal(lets_in(), 'allow', 'what it looks like when all is well');
  await send(socket, policy([{ action: 'allow', srcIpSetIds: ['s:none'] }]));
  t.equal(lets_in(), 'deny', 'a set that was never told');
  t.match(JSON.stringify(lab.report().refusals), /s:none/);
  await send(socket, frame(Uint8Array.from([0xa2, 0x1f, 0x00])), frame(Uint8Array.from([0xff, 0xff, 0xff])));
  await send(
    socket,
    frame(new Uint8Array()),
    message({ payload: { case: 'activePolicyUpdate', value: {} } }),
  );
  t.ok(Object.keys(lab.report().problems).length >= 2, JSON.stringify(lab.report().problems));
  t.equal(socket.closed, false);
  await send(socket, policy([{ action: 'allow' }]));
  t.equal(lets_in(), 'allow', 'the stream lives on');

  await send(socket, policy([]).subarray(0, 12));
  t.equal(lets_in(), 'allow', 'half of a message is none');
  const second = await connect(config, policy([]));
  t.equal(socket.closed, true, 'of two the newest is heard');
  t.equal(lets_in(), 'allow', 'and counts from its InSync on');
  await send(second, endpoint, in_sync);
  t.equal(lets_in(), 'deny');

  const absurd = Buffer.alloc(8);
  absurd.writeBigUInt64LE(2n ** 40n);
  await send(second, absurd, policy([{ action: 'allow' }]));
  t.equal(second.closed, true, 'what has no end is no stream any more');
  t.equal(lets_in(), 'deny', 'what it said stays in force');
  await connect(...whole);
  t.equal(lets_in(), 'allow');
});
