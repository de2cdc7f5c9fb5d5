/**
 * Opens sessions to a real API socket. A session is three connections: `prompt` for what somebody waits for, `bulk` for what comes by the
 * thousand, and one for the probe, which no queue of ours is before.
 */
import {
  type Client,
  connect,
  DeadlineError,
  RetvalError,
  type Transport,
  unixTransport,
} from 'vpp-binapi-ts';
import { ikev2_initiate_rekey_child_sa } from 'vpp-binapi-ts/ikev2';
import { sw_interface_dump, sw_interface_set_flags } from 'vpp-binapi-ts/interface';
import { ip_neighbor_add_del, ip_neighbor_dump } from 'vpp-binapi-ts/ip_neighbor';
import { ip6nd_send_router_solicitation } from 'vpp-binapi-ts/ip6_nd';
import { control_ping } from 'vpp-binapi-ts/memclnt';
import { cli_inband, show_threads } from 'vpp-binapi-ts/vlib';
import { show_version } from 'vpp-binapi-ts/vpe';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { openApiTrace } from './api-trace.js';
import { Executor } from './execute.js';
import { oddFibSources, openFibSources } from './fib-sources.js';
import { Handles } from './handles.js';
import { puntIcmp } from './icmp-punt.js';
import type { VppRun } from './launcher.js';
import { Life } from './life.js';
import { messages_of_drivers, messages_used } from './messages.js';
import { numaOfThreads } from './numa-of-threads.js';
import { observeIkeTunnels } from './observe/ipsec.js';
import { observe } from './observe/observe.js';
import { Reader } from './observe/reader.js';
import { observePeerStates } from './observe/wireguard.js';
import { Patience, times_max } from './patience.js';
import type { Quarantine } from './quarantine.js';
import { Readings } from './readings.js';
import { Registry, type RegistryFile } from './registry.js';
import { hearRouters } from './routers.js';
import type { Session, SessionOpener } from './session.js';
import { TranslationIds } from './translation-ids.js';
import { type ClockFault, judgeClock, readVppClock, WrongClocks } from './vpp-clock.js';
import { openVxlan } from './vxlan-decap.js';

const retry_ms = 20;
const client_name = 'calico-vpp-node';

export interface OpenerParts {
  /** Deadline of one request: some drivers keep VPP busy for seconds. */
  readonly request_ms: number;
  readonly registry: RegistryFile;
  readonly quarantine: Quarantine;
  /** How long the main thread of this process has waited for a CPU in its life. */
  readonly waited_ms: (pid: number) => number;
  readonly clock: Clock;
  readonly log: Log;
  /** VPP is started with a host stack. */
  readonly host_stack?: boolean;
  /** Told with each session of the ids that its VPP has for translations: the same object for the same VPP. */
  readonly translations?: (pid: number, ids: TranslationIds) => void;
  /** How a VPP is reached; its socket when absent. */
  readonly transport?: (run: VppRun) => Transport;
}

interface Connections {
  readonly prompt: Client;
  readonly bulk: Client;
  readonly probe: Client;
}

/** Of one VPP, through all of its sessions. */
interface Known {
  readonly registry: Registry;
  readonly translations: TranslationIds;
  /** Undefined as long as nobody knows how its clock is. */
  clock?: 'right' | ClockFault;
}

export function sessionOpener(parts: OpenerParts): SessionOpener {
  const { clock } = parts;
  // A connection that is lost takes nothing from what is known of its VPP.
  let known: Known | undefined;
  const wrong_clocks = new WrongClocks();
  const knownOf = ({ identity }: VppRun): Known => {
    if (known?.registry.vpp !== identity)
      known = { registry: new Registry(parts.registry, identity), translations: new TranslationIds() };
    return known;
  };
  return {
    async open(run, within_ms, signal) {
      const patience = new Patience(clock, within_ms, () => parts.waited_ms(run.pid));
      try {
        for (;;) {
          if (signal.aborted) throw new Error('given up');
          try {
            const connections = await dialAll(run, patience, parts);
            return await session(run, connections, knownOf(run), wrong_clocks, patience, parts);
          } catch (error) {
            if (patience.isOver) throw error;
            await clock.sleep(retry_ms, signal).catch(() => undefined);
          }
        }
      } finally {
        patience.end();
      }
    },
  };
}

async function dialAll(run: VppRun, patience: Patience, parts: OpenerParts): Promise<Connections> {
  const opened = await Promise.allSettled(
    ['', '-bulk', '-probe'].map((suffix) => dial(run, `${client_name}${suffix}`, patience, parts)),
  );
  const clients = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const failed = opened.find((each) => each.status === 'rejected');
  if (failed !== undefined) {
    for (const client of clients) client.close();
    throw failed.reason;
  }
  const [prompt, bulk, probe] = clients;
  return { prompt: prompt!, bulk: bulk!, probe: probe! };
}

/** A client that VPP has answered in time. */
async function dial(
  run: VppRun,
  name: string,
  patience: Patience,
  {
    request_ms,
    clock,
    log,
    transport = ({ api_socket }: VppRun): Transport => unixTransport(api_socket),
  }: OpenerParts,
): Promise<Client> {
  const client = connect({
    transport: transport(run),
    name,
    timers: clock,
    deadline_ms: request_ms,
    log,
  });
  const late = patience.over.then(() => {
    // A hung VPP takes the connection and says nothing; the client may still come, and is not wanted then.
    client.then(
      (unwanted) => unwanted.close(),
      () => undefined,
    );
    throw new Error(`VPP ${run.pid} does not answer`);
  });
  return Promise.race([client, late]);
}

/**
 * VPP keeps the socket of a client that was killed for as long as the last error that any call of its main thread had is EAGAIN
 * (`vl_socket_read_ready`), looks at it in every turn, and does not answer any more after seven killed processes (seen). A file that cannot be
 * opened is another error, and it closes them.
 */
async function closeDeadClients(vpp: Client): Promise<void> {
  // That it fails is what it is for. A connection that has ended fails with the next request.
  await vpp.request(cli_inband, { cmd: 'exec /dev/null/no-such-file' }).catch(() => undefined);
}

/** Where a template of the user keeps VPP from it. */
async function openIcmp(vpp: Client, log: Log): Promise<void> {
  if (await puntIcmp(vpp)) return;
  log.warn(
    {},
    "the node and pods with VCL do not hear by IPv4 that something cannot be reached, or only by shorter packets: give the template's punt section a socket, or take the section out",
  );
}

async function session(
  run: VppRun,
  connections: Connections,
  known: Known,
  wrong_clocks: WrongClocks,
  patience: Patience,
  parts: OpenerParts,
): Promise<Session> {
  const { clock } = parts;
  const { registry, translations } = known;
  const { prompt, bulk, probe } = connections;
  const clients = [prompt, bulk, probe];
  const close = (): void => {
    for (const client of clients) client.close();
  };
  // A VPP that hangs after the handshake has no longer than one that hangs before it.
  let late = false;
  void patience.over.then(() => {
    late = true;
    close();
  });
  try {
    await closeDeadClients(prompt);
    const clock_read = known.clock === undefined ? await readVppClock(prompt, clock) : undefined;
    const handles = new Handles(translations);
    handles.lacks = new Set(prompt.compatible(messages_of_drivers).mismatches.map(({ name }) => name));
    const [{ version }, { thread_data }, interfaces, programmed] = await Promise.all([
      prompt.request(show_version, {}),
      prompt.request(show_threads, {}),
      prompt.dump(sw_interface_dump, { name_filter_valid: false, name_filter: '' }),
      openFibSources(prompt, handles),
      openVxlan(prompt, handles),
      parts.host_stack === true && openIcmp(prompt, parts.log),
      openApiTrace(prompt, handles),
    ]);
    const had_interfaces = interfaces.some(({ tag }) => tag !== '');
    const odd_sources = await oddFibSources(prompt);
    // Before anybody has this VPP: to replace one that is new costs nobody anything.
    if (clock_read !== undefined) {
      // It has answered. That it is looked at with pauses is nothing that it could be late with, and its death is told by `closed`.
      patience.end();
      const judgement = await judgeClock(clock_read, prompt, clock).catch(() => 'unknown' as const);
      if (judgement === 'right') {
        known.clock = judgement;
        wrong_clocks.right();
      } else if (judgement !== 'unknown') known.clock = wrong_clocks.wrong(run, judgement.fault);
    }
    // A release that knew no FIB sources of ours may have programmed it.
    const life = new Life(had_interfaces ? 'before' : programmed);
    const heard_ms = (): number => Math.max(...clients.map((client) => client.last_answer_ms));
    const answers = (): Promise<unknown> => probe.request(control_ping, {});
    const executor = new Executor({ ...parts, connections, handles, registry, heard_ms, answers, life });
    const readings = new Readings(async (scopes, take) => {
      await executor.nobodysIsOver();
      return observe(prompt, scopes, handles, registry, take);
    });
    const closed = Promise.race(clients.map((client) => client.closed));
    closed.then((reason) => {
      executor.fail(reason);
      close();
    });
    parts.translations?.(run.pid, translations);
    return {
      run,
      version,
      had_interfaces,
      workers: thread_data.length - 1,
      numa: numaOfThreads(thread_data),
      clock_fault: typeof known.clock === 'object' ? known.clock : undefined,
      incompatible: [
        ...prompt
          .compatible(messages_used)
          .mismatches.map(({ name, crc, vpp_crc }) => `${name}: ours ${crc}, VPP's ${vpp_crc ?? 'missing'}`),
        ...odd_sources,
      ],
      execute: (transaction, abandoned) => executor.run(transaction, abandoned),
      read: (scopes, take) => readings.read(scopes, take),
      async neighbours(tag) {
        const sw_if_index = handles.interface(tag);
        const both = await Promise.all(
          (['ADDRESS_IP4', 'ADDRESS_IP6'] as const).map((af) =>
            prompt.dump(ip_neighbor_dump, { sw_if_index, af }),
          ),
        );
        return both.flat().map(({ neighbor }) => ({
          address: neighbor.ip_address,
          mac: neighbor.mac_address,
        }));
      },
      async introduce(tag, neighbours) {
        const sw_if_index = handles.interface(tag);
        const asked = neighbours.map(({ address: ip_address, mac: mac_address }) =>
          prompt.request(ip_neighbor_add_del, {
            is_add: true,
            neighbor: { sw_if_index, flags: 0, mac_address, ip_address },
          }),
        );
        // One that is another's static one, or too many, is refused.
        for (const each of await Promise.allSettled(asked))
          if (each.status === 'rejected' && !(each.reason instanceof RetvalError)) throw each.reason;
      },
      peers: () => observePeerStates(new Reader(prompt)),
      ikeTunnels: (tunnels) => observeIkeTunnels(new Reader(prompt), handles, tunnels),
      async rekey(spis) {
        const reader = new Reader(prompt);
        await Promise.all(spis.map((ispi) => reader.ask(ikev2_initiate_rekey_child_sa, { ispi })));
      },
      async takeDown(tags) {
        const reader = new Reader(prompt);
        const indexes = tags.flatMap((tag) => handles.findInterface(tag) ?? []);
        await Promise.all(
          indexes.map((sw_if_index) => reader.ask(sw_interface_set_flags, { sw_if_index, flags: 0 })),
        );
      },
      hearRouters: (said) => hearRouters(prompt, handles, said),
      async solicit(tag) {
        const sw_if_index = handles.interface(tag);
        // After 1 s again, twice.
        await prompt.request(ip6nd_send_router_solicitation, {
          irt: 1,
          mrt: 4,
          mrc: 3,
          mrd: 10,
          sw_if_index,
          stop: false,
        });
      },
      cli: async (command) => (await prompt.request(cli_inband, { cmd: command })).reply,
      async ping(deadline_ms) {
        const before_ms = heard_ms();
        const waits = new Patience(clock, deadline_ms, () => parts.waited_ms(run.pid));
        const answer = probe
          .request(control_ping, {}, { deadline_ms: times_max * deadline_ms })
          // A connection that has ended is told by `closed`, and says nothing of VPP.
          .catch((error: Error) => (error instanceof DeadlineError ? waits.over : undefined));
        await Promise.race([answer, waits.over]);
        waits.end();
        // Busy it is, but it answers: somebody else just now. What routers say, anybody's, it tells by itself, and is no answer.
        if (waits.isOver && heard_ms() === before_ms)
          throw new Error(`VPP has said nothing for ${deadline_ms} ms in which it could`);
      },
      suspects: () => executor.suspects(),
      closed: closed.then((reason) => reason.message),
      close,
      stats: () => ({
        ...executor.gauges(),
        prompt: prompt.stats(),
        bulk: bulk.stats(),
        probe: probe.stats(),
      }),
    };
  } catch (error) {
    close();
    throw late ? new Error(`VPP ${run.pid} does not answer`) : error;
  }
}
