/** What a Felix says over its socket, in tests with packets. */
import { connect, type Socket } from 'node:net';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { frame } from '../../src/felix/frames.js';
import type { ToDataplaneSchema } from '../../src/felix/generated/felix_pb.js';
import { bytesOf } from '../felix/stream.js';

export type Payload = NonNullable<MessageInitShape<typeof ToDataplaneSchema>['payload']>;

/** What Felix would say, over its socket. */
export class Voice {
  readonly #socket: Socket;

  constructor(path: string) {
    this.#socket = connect(path);
    this.#socket.on('error', () => undefined);
    this.#socket.resume();
  }

  say(...payloads: readonly Payload[]): void {
    for (const payload of payloads) this.#socket.write(frame(bytesOf({ payload })));
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** Of prefixes. */
export function set(id: string, members: readonly string[]): Payload {
  const writer = new BinaryWriter().tag(1, 2).string(id);
  for (const member of members) writer.tag(2, 2).string(member);
  return { case: 'ipsetUpdate', value: writer.tag(3, 0).int32(2).finish() };
}

const kind = 'NetworkPolicy';
export const policyId = (name: string) => ({ name, namespace: 'default', kind });
export const policyRef = (name: string) =>
  new BinaryWriter().tag(2, 2).string(name).tag(3, 2).string('default').tag(4, 2).string(kind).finish();
