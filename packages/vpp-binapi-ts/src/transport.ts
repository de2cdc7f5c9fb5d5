/**
 * A byte stream to VPP and back. The client knows nothing else about the connection, so that tests can stand in for it.
 */
export interface Transport {
  /** Called once, before the first write. */
  attach(receiver: Receiver): void;
  /**
   * Takes a chunk, in order. True: the bytes are gone and their memory may be used again at once. False: the transport still
   * reads from that memory; it calls `drained` when it no longer does, and nothing may be written before that.
   * Never calls the receiver before it has returned.
   */
  write(chunk: Uint8Array): boolean;
  /** Goes on after `data` has returned false. Never calls the receiver before it has returned. */
  resume(): void;
  /** Gives up what is not yet written. `closed` follows. Idempotent. */
  close(): void;
}

/** What a transport calls, never from two places at once. */
export interface Receiver {
  /**
   * Bytes as they came, cut anywhere. The memory belongs to the transport again when this returns. False: enough for this turn of the
   * event loop; no more may be handed over before `resume`. What VPP sends meanwhile waits in the kernel, and then in VPP.
   */
  data(chunk: Uint8Array): boolean;
  drained(): void;
  /** Exactly once, last; with the cause where the stream broke. Also while `data` waits for `resume`. */
  closed(cause?: Error): void;
}
