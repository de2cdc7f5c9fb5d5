/** Streams for tests: recordings of a real Felix, and messages put together by hand. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { decode } from '../../src/felix/decode.js';
import { FrameReader } from '../../src/felix/frames.js';
import { ToDataplaneSchema } from '../../src/felix/generated/felix_pb.js';
import type { FelixMessage } from '../../src/felix/messages.js';
import { FelixModel, type Problem } from '../../src/felix/model.js';

export function fixture(name: string): Buffer {
  return readFileSync(fileURLToPath(new URL(`../../../test/felix/fixtures/${name}`, import.meta.url)));
}

/** The messages of a recording. */
export function recorded(name: string): FelixMessage[] {
  return new FrameReader().read(fixture(`${name}.bin`)).messages.map(decode);
}

export function bytesOf(payload: MessageInitShape<typeof ToDataplaneSchema>): Uint8Array {
  return toBinary(ToDataplaneSchema, create(ToDataplaneSchema, payload));
}

const types = ['address', 'address_and_port', 'prefix'];

export function setMessage(
  id: string,
  members: readonly string[],
  type: 'address' | 'address_and_port' | 'prefix' = 'prefix',
): FelixMessage {
  const writer = new BinaryWriter().tag(1, 2).string(id);
  for (const member of members) writer.tag(2, 2).string(member);
  writer.tag(3, 0).int32(types.indexOf(type));
  return decode(bytesOf({ payload: { case: 'ipsetUpdate', value: writer.finish() } }));
}

export function deltaMessage(id: string, added: readonly string[], removed: readonly string[]): FelixMessage {
  const writer = new BinaryWriter().tag(1, 2).string(id);
  for (const member of added) writer.tag(2, 2).string(member);
  for (const member of removed) writer.tag(3, 2).string(member);
  return decode(bytesOf({ payload: { case: 'ipsetDeltaUpdate', value: writer.finish() } }));
}

/** Takes messages in, whole; what was wrong with them. */
export function tell(model: FelixModel, messages: Iterable<FelixMessage>): Problem[] {
  const problems: Problem[] = [];
  for (const message of messages) {
    const problem = model.apply(message) ?? (model.busy ? model.work(Number.POSITIVE_INFINITY) : undefined);
    if (problem !== undefined) problems.push(problem);
  }
  return problems;
}

/** A model that has been told all of this, in one connection. */
export function modelOf(messages: Iterable<FelixMessage>): FelixModel {
  const model = new FelixModel();
  model.connected();
  tell(model, messages);
  return model;
}
