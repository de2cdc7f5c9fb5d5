/** Opens sessions to a real API socket: connects, compares the message table, reads the snapshot. */
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';

import { ip_neighbor_dump } from 'vpp-binapi-ts/ip_neighbor';
import { control_ping } from 'vpp-binapi-ts/memclnt';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { show_version } from 'vpp-binapi-ts/vpe';
import type { Clock } from '../host/clock.js';
import type { Log } from '../log.js';
import { execute } from './execute.js';
import type { VppRun } from './launcher.js';
import { messages_used } from './messages.js';
import { observe } from './observe.js';
import type { Session, SessionOpener } from './session.js';

export interface SessionSettings {
  /** How long a starting VPP may take to answer. */
  readonly open_ms: number;
  /** For one request. Some drivers keep VPP busy for seconds. */
  readonly request_ms: number;
}

const retry_ms = 20;
const client_name = 'calico-vpp-node';

export function sessionOpener(settings: SessionSettings, clock: Clock, log: Log): SessionOpener {
  return {
    async open(run, signal) {
      const deadline = clock.now_ms() + settings.open_ms;
      for (;;) {
        if (signal.aborted) throw new Error('given up');
        try {
          return await session(run, await dial(run, settings, clock, log));
        } catch (error) {
          if (clock.now_ms() >= deadline) throw error;
          await clock.sleep(retry_ms, signal).catch(() => undefined);
        }
      }
    },
  };
}

function dial(run: VppRun, settings: SessionSettings, clock: Clock, log: Log): Promise<Client> {
  return connect({
    transport: unixTransport(run.api_socket),
    name: client_name,
    timers: clock,
    deadline_ms: settings.request_ms,
    log,
  });
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
