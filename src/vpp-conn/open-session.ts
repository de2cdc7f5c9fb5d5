/** Opens sessions to a real API socket: connects, compares the message table, reads the snapshot. */
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';

import { ip_neighbor_dump } from 'vpp-binapi-ts/ip_neighbor';
import { control_ping } from 'vpp-binapi-ts/memclnt';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { show_version } from 'vpp-binapi-ts/vpe';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { execute } from './execute.js';
import type { VppRun } from './launcher.js';
import { messages_used } from './messages.js';
import { observe } from './observe.js';
import type { Session, SessionOpener } from './session.js';

const retry_ms = 20;
const client_name = 'calico-vpp-node';

/** `request_ms` is the deadline of one request: some drivers keep VPP busy for seconds. */
export function sessionOpener(request_ms: number, clock: Clock, log: Log): SessionOpener {
  return {
    async open(run, within_ms, signal) {
      const deadline = clock.now_ms() + within_ms;
      for (;;) {
        if (signal.aborted) throw new Error('given up');
        try {
          return await session(run, await dial(run, deadline, request_ms, clock, log));
        } catch (error) {
          if (clock.now_ms() >= deadline) throw error;
          await clock.sleep(retry_ms, signal).catch(() => undefined);
        }
      }
    },
  };
}

/** A client that VPP has answered before the deadline. */
async function dial(
  run: VppRun,
  deadline: number,
  request_ms: number,
  clock: Clock,
  log: Log,
): Promise<Client> {
  const client = connect({
    transport: unixTransport(run.api_socket),
    name: client_name,
    timers: clock,
    deadline_ms: request_ms,
    log,
  });
  const waiting = new AbortController();
  const late = clock.sleep(Math.max(0, deadline - clock.now_ms()), waiting.signal).then(() => {
    // A hung VPP takes the connection and says nothing; the client may still come, and is not wanted then.
    client.then(
      (unwanted) => unwanted.close(),
      () => undefined,
    );
    throw new Error(`VPP ${run.pid} does not answer`);
  });
  try {
    return await Promise.race([client, late]);
  } finally {
    waiting.abort();
    late.catch(() => undefined);
  }
}

async function session(run: VppRun, client: Client): Promise<Session> {
  try {
    const [{ version }, { handles, snapshot }] = await Promise.all([
      client.request(show_version, {}),
      observe(client),
    ]);
    return {
      run,
      version,
      snapshot,
      incompatible: client
        .compatible(messages_used)
        .mismatches.map(({ name, crc, vpp_crc }) => `${name}: ours ${crc}, VPP's ${vpp_crc ?? 'missing'}`),
      execute: (transaction) => execute(client, handles, transaction),
      async readSnapshot() {
        const observed = await observe(client);
        handles.learn(observed.handles);
        return observed.snapshot;
      },
      async neighbours(tag) {
        const sw_if_index = handles.interface(tag);
        const both = await Promise.all(
          (['ADDRESS_IP4', 'ADDRESS_IP6'] as const).map((af) =>
            client.dump(ip_neighbor_dump, { sw_if_index, af }),
          ),
        );
        return both.flat().map(({ neighbor }) => neighbor.ip_address);
      },
      cli: async (command) => (await client.request(cli_inband, { cmd: command })).reply,
      ping: async (deadline_ms) => {
        await client.request(control_ping, {}, { deadline_ms });
      },
      closed: client.closed.then((reason) => reason.message),
      close: () => client.close(),
      stats: () => client.stats(),
    };
  } catch (error) {
    client.close();
    throw error;
  }
}
