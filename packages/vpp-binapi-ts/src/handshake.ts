import type { Client, ConnectOptions } from './client.js';
import { BinapiError, DeadlineError, DisconnectedError, MalformedError, RetvalError } from './errors.js';
import { FrameReader } from './frames.js';
import { sockclnt_create } from './generated/memclnt.js';
import { Intake } from './intake.js';
import { type Bytes, header_size } from './message.js';
import { MessageTable } from './message-table.js';
import { Outbox } from './outbox.js';
import { type Greeting, Session, type Settings } from './session.js';
import { systemTimers } from './timers.js';
import { window_max } from './window.js';

/**
 * The two ids that are known before VPP's message table is: the places of the messages in memclnt.api, counted from 1.
 * `sockclnt_create` and its reply have kept them since VPP got its API socket.
 */
export const sockclnt_create_id = 15;
export const sockclnt_create_reply_id = 16;

/** Returned by VPP; says nothing to it. */
const handshake_context = 1;

const defaults = {
  timers: systemTimers,
  window: 512,
  queue_max: 65_536,
  deadline_ms: 10_000,
  message_bytes_max: 64 * 1024 * 1024,
} as const;

/**
 * Registers with VPP and learns its message numbers. Rejects with DisconnectedError (no such socket, or closed by VPP), DeadlineError
 * (VPP does not answer), MalformedError (not VPP's protocol) or RetvalError (VPP refuses); the transport is closed then.
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const settings: Settings = { ...defaults, ...options };
  const { window } = settings;
  if (!Number.isInteger(window) || window < 1 || window > window_max) {
    throw new RangeError(`window ${window}: an integer from 1 to ${window_max}`);
  }
  return new Promise((resolve, reject) => register(settings, resolve, reject));
}

function register(
  settings: Settings,
  resolve: (client: Client) => void,
  reject: (reason: BinapiError) => void,
): void {
  const { transport, timers, deadline_ms, log } = settings;
  const outbox = new Outbox(transport);
  let session: Session | undefined;
  let ended = false;

  const fail = (reason: BinapiError): void => {
    ended = true;
    timer.cancel();
    if (reason instanceof MalformedError) {
      log?.warn({ err: reason }, 'connection(close) VPP sent what makes no sense');
    }
    if (session !== undefined) {
      session.leave(reason);
      return;
    }
    intake.close();
    outbox.close();
    transport.close();
    reject(reason);
  };
  const reader = new FrameReader(settings.message_bytes_max, (from, at, message_end) => {
    if (session !== undefined) return session.receive(from, at, message_end) && intake.more();
    session = new Session(settings, intake, outbox, readGreeting(from, at, message_end));
    timer.cancel();
    resolve(session);
    return true;
  });
  const intake = new Intake(transport, timers, reader, {
    begins: (now_ms) => session?.pieceBegins(now_ms),
    ends: () => session?.pieceEnds(),
    failed: (error) =>
      fail(
        error instanceof BinapiError
          ? error
          : new MalformedError('VPP sent what cannot be read', { cause: error }),
      ),
  });
  const timer = timers.after(deadline_ms, () =>
    intake.afterRead(() => {
      if (session === undefined && !ended) fail(new DeadlineError(sockclnt_create.name, deadline_ms, true));
    }),
  );

  transport.attach({
    data: (chunk) => intake.data(chunk),
    drained() {
      outbox.drained();
      session?.drained();
    },
    closed(cause) {
      intake.close();
      const text =
        cause === undefined ? 'VPP closed the connection' : `connection to VPP broke: ${cause.message}`;
      const reason = new DisconnectedError(text, undefined, false, { cause });
      if (session !== undefined) session.lost(reason);
      else if (!ended) fail(reason);
    },
  });
  introduce(outbox, settings.name);
}

function introduce(outbox: Outbox, name: string): void {
  const fields = { name };
  const header_bytes = header_size[sockclnt_create.header];
  const at = outbox.reserve(header_bytes + sockclnt_create.size(fields));
  outbox.bytes.view.setUint16(at, sockclnt_create_id);
  outbox.bytes.view.setUint32(at + 2, handshake_context);
  outbox.commit(at, sockclnt_create.encode(outbox.bytes, at + header_bytes, fields));
}

function readGreeting(from: Bytes, at: number, end: number): Greeting {
  const { reply } = sockclnt_create;
  const id = from.view.getUint16(at);
  const header_bytes = header_size[reply.header];
  if (id !== sockclnt_create_reply_id || end - at < header_bytes) {
    throw new MalformedError(
      `${sockclnt_create.name} is answered by a message with id ${id} and ${end - at} bytes`,
    );
  }
  if (from.view.getUint32(at + header_bytes - 4) !== handshake_context) {
    throw new MalformedError(`${reply.name} answers another context`);
  }
  const greeting = reply.decode(from, at + header_bytes, end);
  if (greeting.response < 0) throw new RetvalError(sockclnt_create.name, greeting.response, greeting);
  return { client_index: greeting.index, table: new MessageTable(greeting.message_table) };
}
