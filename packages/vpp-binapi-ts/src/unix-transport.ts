import { connect } from 'node:net';
import type { Receiver, Transport } from './transport.js';

/** Bytes per read: VPP sends every message with a system call of its own, most of them 26 bytes long; one read takes a burst of them. */
const read_bytes = 64 * 1024;
/** Buffers that nothing was read into, for the next sockets: whoever waits for a VPP to start dials it a hundred times. */
const unused: Uint8Array[] = [];
const unused_max = 4;

/**
 * Connects to VPP's API socket (`/run/vpp/api.sock` unless configured otherwise). Returns at once; a socket that cannot be
 * connected to is told by `closed(cause)`, like one that breaks later.
 */
export function unixTransport(path: string): Transport {
  let receiver: Receiver | undefined;
  let failure: Error | undefined;
  let draining = false;
  let connected = false;
  const buffer = unused.pop() ?? new Uint8Array(read_bytes);
  const socket = connect({
    path,
    // One buffer for the life of the socket: a new one per read costs more than decoding what is in it.
    onread: {
      buffer,
      callback: (length) => receiver?.data(buffer.subarray(0, length)) ?? true,
    },
  });
  socket.on('error', (error) => {
    failure = error;
  });
  socket.on('connect', () => {
    connected = true;
  });
  socket.on('close', () => {
    if (!connected && unused.length < unused_max) unused.push(buffer);
    receiver?.closed(failure);
  });
  const written = () => {
    if (!draining || socket.writableLength > 0) return;
    draining = false;
    receiver?.drained();
  };

  return {
    attach(to) {
      receiver = to;
    },
    write(chunk) {
      socket.write(chunk, written);
      // Node makes the system call inside write(); what the kernel did not take at once is what is left here.
      draining = socket.writableLength > 0;
      return !draining;
    },
    resume() {
      socket.resume();
    },
    close() {
      socket.destroy();
    },
  };
}
