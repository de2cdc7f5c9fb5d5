import koffi from 'koffi';

/**
 * The system calls that Node.js has no function for, and the only import of koffi. All are synchronous and belong to the
 * main thread: setns and unshare change the calling thread alone. Numbers are those of Linux on x86-64 and arm64.
 */

/** A system call that failed; `code` is the name of the errno. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  constructor(
    readonly code: string,
    readonly call: string,
    object: string,
  ) {
    super(`${call} ${object}: ${code}`);
  }
}

const CLONE_NEWNET = 0x4000_0000;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOL_SOCKET = 1;
export const SOL_NETLINK = 270;
export const SOL_PACKET = 263;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
const SOCK_CLOEXEC = 0o2000000;
const SO_RCVTIMEO = 20;
const PIDFD_OPEN = 434;
const PIDFD_SEND_SIGNAL = 424;
const RLIMIT_MEMLOCK = 8;
const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;

type Pointer = Uint8Array | bigint | null;

// The program's own symbols, so that it works with glibc and musl alike.
const program = koffi.load(null);
function bind<F extends (...args: never[]) => unknown>(name: string, result: string, args: string[]): F {
  return program.func(name, result, args) as unknown as F;
}

/** What koffi adds to each function: a call on another thread. */
interface AsideFunction {
  async(
    fd: number,
    data: Pointer,
    length: number,
    flags: number,
    done: (error: Error | null, result: number) => void,
  ): void;
}

const c_setns = bind<(fd: number, type: number) => number>('setns', 'int', ['int', 'int']);
const c_unshare = bind<(flags: number) => number>('unshare', 'int', ['int']);
const c_socket = bind<(family: number, type: number, protocol: number) => number>('socket', 'int', [
  'int',
  'int',
  'int',
]);
const c_bind = bind<(fd: number, address: Pointer, length: number) => number>('bind', 'int', [
  'int',
  'void *',
  'uint32_t',
]);
const c_setsockopt = bind<
  (fd: number, level: number, option: number, value: Pointer, length: number) => number
>('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint32_t']);
const c_getsockopt = bind<
  (fd: number, level: number, option: number, value: Pointer, length: Pointer) => number
>('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']);
const c_send = bind<(fd: number, data: Pointer, length: number, flags: number) => number>(
  'send',
  'intptr_t',
  ['int', 'void *', 'size_t', 'int'],
);
const c_send_aside = (c_send as unknown as AsideFunction).async;
const c_recv = bind<(fd: number, data: Pointer, length: number, flags: number) => number>(
  'recv',
  'intptr_t',
  ['int', 'void *', 'size_t', 'int'],
);
const c_poll = bind<(fds: Pointer, count: number, timeout_ms: number) => number>('poll', 'int', [
  'void *',
  'ulong',
  'int',
]);
// Variadic in C; with pointer and word arguments both calling conventions are the same on these machines.
const c_ioctl = bind<(fd: number, request: number, data: Pointer) => number>('ioctl', 'int', [
  'int',
  'ulong',
  'void *',
]);
const c_mount = bind<(source: string, target: string, type: string, flags: number, data: Pointer) => number>(
  'mount',
  'int',
  ['str', 'str', 'str', 'ulong', 'void *'],
);
const c_umount2 = bind<(target: string, flags: number) => number>('umount2', 'int', ['str', 'int']);
const c_prlimit = bind<(pid: number, resource: number, value: Pointer, old: Pointer) => number>(
  'prlimit',
  'int',
  ['int', 'int', 'void *', 'void *'],
);
// A new enough glibc has wrappers for these two, older ones and musl have not.
const c_syscall = bind<(number: number, a: number, b: number, c: number, d: number) => number>(
  'syscall',
  'long',
  ['long', 'long', 'long', 'long', 'long'],
);

const ERRNO_NAMES = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));
// Two names share a number; these are the ones that the manual pages use.
ERRNO_NAMES.set(11, 'EAGAIN').set(95, 'EOPNOTSUPP');

/** `EEXIST` for 17; `E524` where the number has no name in user space. */
export function errnoName(errno: number): string {
  return ERRNO_NAMES.get(errno) ?? `E${errno}`;
}

function checked(result: number, call: string, object: string): number {
  if (result < 0) throw new SystemCallError(errnoName(koffi.errno()), call, object);
  return result;
}

export function setns(fd: number): void {
  checked(c_setns(fd, CLONE_NEWNET), 'setns', `fd ${fd}`);
}

export function unshareNetwork(): void {
  checked(c_unshare(CLONE_NEWNET), 'unshare', 'network namespace');
}

export function socket(family: number, type: number, protocol: number): number {
  return checked(c_socket(family, type | SOCK_CLOEXEC, protocol), 'socket', `family ${family}`);
}

/** `groups` is the bit mask of the first 32 multicast groups. */
export function bindNetlink(fd: number, groups: number): void {
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(groups, 8);
  checked(c_bind(fd, address, address.length), 'bind', `netlink fd ${fd}`);
}

/** From now on the socket has what this link receives and sends, of every protocol. */
export function bindPacket(fd: number, link: number): void {
  const every_protocol = 3;
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(every_protocol, 2);
  address.writeInt32LE(link, 4);
  checked(c_bind(fd, address, address.length), 'bind', `packet fd ${fd} link ${link}`);
}

export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  checked(c_setsockopt(fd, level, option, bytes, 4), 'setsockopt', `fd ${fd} option ${option}`);
}

/** A socket option of 64 bits. Throws ENOPROTOOPT where the kernel does not know it. */
export function socketOption64(fd: number, level: number, option: number): bigint {
  const value = Buffer.alloc(8);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(8);
  checked(c_getsockopt(fd, level, option, value, length), 'getsockopt', `fd ${fd} option ${option}`);
  return value.readBigUInt64LE();
}

/** A recv that waits longer fails with EAGAIN. */
export function setReceiveTimeout(fd: number, timeout_ms: number): void {
  const timeval = Buffer.alloc(16);
  timeval.writeBigInt64LE(BigInt(Math.trunc(timeout_ms / 1000)), 0);
  timeval.writeBigInt64LE(BigInt((timeout_ms % 1000) * 1000), 8);
  checked(c_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeval, 16), 'setsockopt', `fd ${fd} timeout`);
}

export function send(fd: number, data: Uint8Array): number {
  return checked(c_send(fd, data, data.length, 0), 'send', `fd ${fd}`);
}

/**
 * As `send`, but on a thread of libuv's pool, for a request that the kernel is slow to work off. What counts is where the
 * socket was born, not the thread. Until it resolves, `fd` stays open and `data` unchanged. -1: it failed; the errno is lost.
 */
export function sendAside(fd: number, data: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    c_send_aside(fd, data, data.length, 0, (error, sent) => (error ? reject(error) : resolve(sent)));
  });
}

/** Bytes received into `data`. */
export function receive(fd: number, data: Uint8Array, flags = 0): number {
  return checked(c_recv(fd, data, data.length, flags), 'recv', `fd ${fd}`);
}

/** `ioctl` with a structure that the kernel reads and fills. `object`: what it is about, for the error. */
export function deviceControl(fd: number, request: number, structure: Uint8Array, object: string): void {
  checked(c_ioctl(fd, request, structure), 'ioctl', object);
}

/** `ioctl` on a network device: `argument` is copied into a `struct ifreq` as a pointer, and filled by the kernel. */
export function interfaceControl(fd: number, request: number, link_name: string, argument: Uint8Array): void {
  const ifreq = Buffer.alloc(40);
  ifreq.write(link_name, 0, 15);
  ifreq.writeBigUInt64LE(koffi.address(argument), 16);
  deviceControl(fd, request, ifreq, link_name);
}

export const MS_BIND = 0x1000;
export const MS_REC = 0x4000;
export const MS_PRIVATE = 0x4_0000;
export const MS_SHARED = 0x10_0000;
const MNT_DETACH = 2;

export function mount(source: string, target: string, flags: number): void {
  checked(c_mount(source, target, 'none', flags, null), 'mount', target);
}

/** Detaches: no error because somebody still uses it. */
export function unmount(target: string): void {
  checked(c_umount2(target, MNT_DETACH), 'umount', target);
}

/** Lets the process lock as much memory as it likes (VPP's buffers, memory for devices). Children inherit it. */
export function unlimitLockedMemory(pid: number): void {
  const limit = Buffer.alloc(16);
  limit.writeBigUInt64LE(RLIM_INFINITY, 0);
  limit.writeBigUInt64LE(RLIM_INFINITY, 8);
  checked(c_prlimit(pid, RLIMIT_MEMLOCK, limit, null), 'prlimit', `pid ${pid}`);
}

/** A descriptor that means this process and no later one with the same number. ESRCH when there is none. */
export function pidfdOpen(pid: number): number {
  return checked(c_syscall(PIDFD_OPEN, pid, 0, 0, 0), 'pidfd_open', `pid ${pid}`);
}

export function pidfdSendSignal(fd: number, signal: number): void {
  checked(c_syscall(PIDFD_SEND_SIGNAL, fd, signal, 0, 0), 'pidfd_send_signal', `signal ${signal}`);
}

const POLLOUT = 4;

/**
 * Can the descriptor take bytes within `ms`, a pipe at least 4096 of them, without waiting any longer? Also true where writing
 * fails at once. The thread waits.
 */
export function isWritable(fd: number, ms: number): boolean {
  const poll = Buffer.alloc(8);
  poll.writeInt32LE(fd, 0);
  poll.writeInt16LE(POLLOUT, 4);
  // A signal that interrupts the wait counts as its end.
  return c_poll(poll, 1, ms) === 1;
}

/** Calls back on the main thread each time the descriptor can be read. Close the poll before the descriptor. */
export function onReadable(fd: number, run: () => void): { close(): void } {
  const handle = koffi.node.poll(fd, { readable: true }, run);
  return {
    close() {
      handle.stop();
      handle.close();
    },
  };
}

/** No libpcap, or an expression that it does not take: the message is its own. */
export class PacketFilterError extends Error {
  override readonly name = 'PacketFilterError';
}

const libpcap_names = ['libpcap.so.0.8', 'libpcap.so.1'];
const SO_ATTACH_FILTER = 26;
const packet_bytes_max = 65_535;

/**
 * Has the kernel leave away from this socket what the expression of pcap does not match. `link_type`: that of libpcap's `pcap_open_dead`.
 * libpcap is loaded when it is asked for: not every machine has it.
 */
export function attachPacketFilter(fd: number, link_type: number, expression: string): void {
  const library = loadLibpcap();
  const open = library.func('pcap_open_dead', 'void *', ['int', 'int']);
  const compile = library.func('pcap_compile', 'int', ['void *', 'void *', 'str', 'int', 'uint32_t']);
  const lastError = library.func('pcap_geterr', 'str', ['void *']);
  const free = library.func('pcap_freecode', 'void', ['void *']);
  const close = library.func('pcap_close', 'void', ['void *']);
  const handle: unknown = open(link_type, packet_bytes_max);
  // `struct bpf_program`: a u32 of instructions, a pointer. The kernel's `struct sock_fprog` has a u16 in place of the u32; there are never more.
  const compiled = Buffer.alloc(16);
  try {
    if (compile(handle, compiled, expression, 1, 0xffff_ffff) !== 0)
      throw new PacketFilterError(lastError(handle) as string);
    try {
      checked(c_setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, compiled, 16), 'setsockopt', `fd ${fd} filter`);
    } finally {
      free(compiled);
    }
  } finally {
    close(handle);
  }
}

function loadLibpcap(): ReturnType<typeof koffi.load> {
  for (const name of libpcap_names) {
    try {
      return koffi.load(name);
    } catch {
      // The next name.
    }
  }
  throw new PacketFilterError('libpcap is not installed here (Debian: libpcap0.8)');
}
