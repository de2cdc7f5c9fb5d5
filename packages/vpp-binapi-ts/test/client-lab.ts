import { type BinapiError, type ConnectOptions, connect } from '../src/index.js';
import { Peer, TurnedTimers } from './peer.js';

/** A client of this peer, by timers that the test turns. */
export async function connected(options: Partial<ConnectOptions> = {}, peer = new Peer()) {
  const timers = new TurnedTimers();
  const client = await connect({ transport: peer, name: 'test', timers, ...options });
  return { client, peer, timers };
}

/** The error that a promise rejects with; null when it resolves. */
export const failure = (promise: Promise<unknown>): Promise<BinapiError | null> =>
  promise.then(
    () => null,
    (error) => error,
  );
