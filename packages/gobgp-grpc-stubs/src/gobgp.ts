import { status } from '@grpc/grpc-js';
import { Path, type PathInput } from './api/path.js';
import { add_path_stream, type Rpc, type RpcName, rpcs } from './api/rpcs.js';
import { type BriefPath, BriefReader } from './brief.js';
import { Codec } from './codec.js';
import { type CallOptions, Connection } from './connection.js';
import {
  DisconnectedError,
  type GobgpError,
  IncompatibleError,
  MalformedError,
  RefusedError,
  TooLargeError,
} from './errors.js';
import type { Input, Output } from './schema.js';
import { type Dialect, has, parseVersion, type Version } from './version.js';
import { type WatchAnswer, type WatchEvent, type WatchOptions, watchEvents, watchRequest } from './watch.js';

export interface ConnectOptions {
  /** `/run/gobgp.sock`, `unix:/run/gobgp.sock` or `127.0.0.1:50051`. Without encryption: for a daemon of the same machine. */
  readonly target: string;
  /** Ends the attempt, not the connection. */
  readonly signal?: AbortSignal;
  /** For connecting, and for each answer unless the call says otherwise: 10,000 ms. */
  readonly deadline_ms?: number;
  /** Of one message, either way: 256 MiB, what gobgpd itself allows. Before 3.27 all best paths come in one message. */
  readonly message_bytes_max?: number;
  /**
   * What `gobgpd --version` says. No call tells it; without it nothing is sent that the oldest daemon of the dialect would
   * ignore without a word.
   */
  readonly version?: string;
}

type Args<R, O> = Record<never, never> extends R ? [request?: R, options?: O] : [request: R, options?: O];

type Stub<R extends Rpc> = R['stream'] extends true
  ? (
      ...args: Args<Input<R['request']>, CallOptions>
    ) => AsyncGenerator<Output<R['response']>, void, undefined>
  : (...args: Args<Input<R['request']>, CallOptions>) => Promise<Output<R['response']>>;

/** GoBGP's calls, by their names. A rejection, and what a stream throws, is a GobgpError. */
export type Stubs = { readonly [N in RpcName]: Stub<(typeof rpcs)[N]> };

export interface AddPathStreamOptions extends CallOptions {
  /** How many paths go into one message: 256. */
  readonly paths_max?: number;
}

export interface Gobgp extends Stubs {
  readonly dialect: Dialect;
  readonly version: Version;
  /** Undefined when `close` was called; else why the connection is gone. Never rejects. */
  readonly closed: Promise<GobgpError | undefined>;
  /** Ends the connection and what is under way. */
  close(): void;
  /**
   * Adds paths as fast as gobgpd takes them. A path that is refused ends it, and gobgpd does not say which one: those before
   * it are added.
   */
  addPathStream(
    paths: Iterable<PathInput> | AsyncIterable<PathInput>,
    options?: AddPathStreamOptions,
  ): Promise<void>;
  /** What WatchEvent says, with its beginning told from its course. BGP has to be started. */
  watch(
    watched: WatchOptions & { readonly brief: true },
    options?: CallOptions,
  ): AsyncGenerator<WatchEvent<BriefPath>, void, undefined>;
  watch(
    watched: WatchOptions & { readonly brief?: false },
    options?: CallOptions,
  ): AsyncGenerator<WatchEvent, void, undefined>;
}

const services: Readonly<Record<Dialect, string>> = { 3: 'apipb.GobgpApi', 4: 'api.GoBgpService' };

/**
 * Connects and finds out which dialect is spoken. Rejects with a GobgpError: DisconnectedError where nobody listens,
 * DeadlineError where nobody answers, IncompatibleError where it is not GoBGP, or not the version that was promised.
 */
export async function connect(options: ConnectOptions): Promise<Gobgp> {
  const { signal, deadline_ms = 10_000, message_bytes_max = 256 * 2 ** 20 } = options;
  const target = options.target.startsWith('/') ? `unix:${options.target}` : options.target;
  const promised = options.version === undefined ? undefined : parseVersion(options.version);
  if (options.version !== undefined && promised === undefined)
    throw new MalformedError(`version: ${JSON.stringify(options.version)} names no GoBGP 3.x or 4.x`);
  const connection = new Connection(target, { deadline_ms, message_bytes_max });
  try {
    const dialect = await detect(connection, target, { signal });
    if (promised !== undefined && promised.major !== dialect)
      throw new IncompatibleError(
        `${target}: speaks the dialect of ${dialect}.x, not that of ${options.version}`,
      );
    connection.watchForLoss();
    return stubs(connection, promised ?? { major: dialect, minor: undefined });
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** GetBgp changes nothing, and is answered before StartBgp too: the service that is not there says so. */
async function detect(connection: Connection, target: string, options: CallOptions): Promise<Dialect> {
  for (const dialect of [4, 3] as const) {
    try {
      await connection.unary(
        { method: `/${services[dialect]}/GetBgp`, bytes: Buffer.alloc(0), secrets: [] },
        options,
      );
      return dialect;
    } catch (error) {
      if (error instanceof IncompatibleError) continue;
      const no_grpc =
        error instanceof TooLargeError ||
        (error instanceof RefusedError && error.grpc_code === status.INTERNAL) ||
        (error instanceof DisconnectedError && error.reason === 'Protocol error');
      if (no_grpc)
        throw new IncompatibleError(`${target}: what listens here speaks no gRPC`, { cause: error });
      // A gobgpd that is stopping may refuse: it has understood.
      if (error instanceof RefusedError) return dialect;
      throw error;
    }
  }
  throw new IncompatibleError(
    `${target}: what listens here is no gobgpd: it has neither ${services[4]} (4.x) nor ${services[3]} (3.x). Is it gobgpd's --api-hosts?`,
  );
}

function stubs(connection: Connection, version: Version): Gobgp {
  const codec = new Codec(version);
  const briefReader = (): BriefReader =>
    new BriefReader(version.major, (bytes) => codec.decode(Path, bytes) as Output<typeof Path>);
  const service = services[version.major];
  const requestOf = ({ name, request }: Pick<Rpc, 'name' | 'request'>, value: unknown) => ({
    method: `/${service}/${name}`,
    ...codec.encode(request, value ?? {}),
  });
  const unary =
    (rpc: Rpc) =>
    async (value: unknown, options: CallOptions = {}) =>
      codec.decode(rpc.response, await connection.unary(requestOf(rpc, value), options));
  const stream = (rpc: Rpc) =>
    async function* (value: unknown, options: CallOptions = {}) {
      for await (const come of connection.stream(requestOf(rpc, value), options))
        for (const bytes of come) yield codec.decode(rpc.response, bytes);
    };
  // The table has the types of each call, which its entries, taken as one type, do not.
  const calls = Object.fromEntries(
    Object.entries(rpcs).map(([name, rpc]) => [name, rpc.stream ? stream(rpc) : unary(rpc)]),
  ) as unknown as Stubs;

  return {
    ...calls,
    dialect: version.major,
    version,
    closed: connection.closed,
    close: () => connection.close(),
    addPathStream: async (paths, { paths_max = 256, ...options } = {}) => {
      const { name, request } = add_path_stream;
      const pieces = async function* () {
        for await (const piece of piecesOf(paths, paths_max))
          yield codec.encode(request, { paths: piece }).bytes;
      };
      await connection.sendStream(`/${service}/${name}`, pieces(), options);
    },
    watch: async function* (watched: WatchOptions, options: CallOptions = {}) {
      const request = watchRequest(watched, version);
      if (watched.end_of_rib === true && !has(version, '3.24'))
        throw new IncompatibleError('watch: end_of_rib needs GoBGP 3.24: tell the version to connect');
      const { global } = await calls.getBgp({}, options);
      if (global.asn === 0)
        throw new RefusedError(
          'watch',
          status.FAILED_PRECONDITION,
          'BGP is not started, call startBgp first',
        );
      const rpc = rpcs.watchEvent;
      const brief = watched.brief === true ? briefReader() : undefined;
      const answers = async function* () {
        for await (const come of connection.stream(requestOf(rpc, request), options))
          yield come.map(
            (bytes): WatchAnswer =>
              brief?.read(bytes) ?? (codec.decode(rpc.response, bytes) as Output<typeof rpc.response>),
          );
      };
      yield* watchEvents<never>(answers(), watched, version, global);
    },
  };
}

async function* piecesOf<T>(
  list: Iterable<T> | AsyncIterable<T>,
  length: number,
): AsyncGenerator<readonly T[]> {
  let piece: T[] = [];
  for await (const element of list) {
    piece.push(element);
    if (piece.length < length) continue;
    yield piece;
    piece = [];
  }
  if (piece.length > 0) yield piece;
}
