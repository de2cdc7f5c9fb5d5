/** Runs a node: starts the tree over its parts, serves until it is told to stop, and has the last word. */
import { existsSync } from 'node:fs';
import { createActorSystem, type Reply } from '../actor-system.js';
import { conditionBoard } from '../debug/conditions.js';
import { startDebug } from '../debug/debug.js';
import { machineTime_ns } from '../debug/protocol.js';
import { SyncReports } from '../debug/sync-reports.js';
import { servedAt } from '../desired/host-silence.js';
import { NetworkAddresses } from '../desired/network-addresses.js';
import type { ShownPolicies } from '../messages/policies.js';
import type { ShownServices } from '../messages/services.js';
import { CniCounts } from '../metrics/cni-counts.js';
import { SoftwareChecksums } from '../pods/software-checksums.js';
import { PolicedInterfaces } from '../policies/policed-interfaces.js';
import { TranslationOwners } from '../reconcile/translation-owners.js';
import { HealthPorts } from '../services/health.js';
import { ServiceNames } from '../services/service-names.js';
import { connectivityRef, policiesRef, root_supervision, servicesRef, startTree } from '../supervisor.js';
import { largeSegments } from '../uplink/drivers.js';
import { bgpOf, bgpProcessOf } from './bgp.js';
import { clusterActorOf, serviceFaults } from './cluster.js';
import { cniOf } from './cni.js';
import { connectivityOf } from './connectivity.js';
import { watchDoors } from './doors.js';
import { endGobgpd } from './end-gobgpd.js';
import { endSignals } from './end-signals.js';
import { felixOf } from './felix.js';
import { figuresOf } from './figures.js';
import { type LastWord, lastWord } from './last-word.js';
import type { NodeParts } from './parts.js';
import { policiesOf } from './policies.js';
import { routeSource } from './route-source.js';
import { servicesOf } from './services.js';
import { uplinkOf } from './uplink.js';
import { connectionOf, processOf } from './vpp.js';
import { whyOf } from './why.js';

export const exit_code = { stopped: 0, gave_up: 1, not_restored: 3 } as const;

/** For what services have; a dump of ten thousand of them takes VPP a second. */
const show_services_ms = 10_000;
const show_policies_ms = 2000;

/** `code`: that of an end at which all went well. A host that is not what it was is the worst that can be told. */
export function exitCode(code: number, { restored, vpp_ended }: LastWord): number {
  if (!restored) return exit_code.not_restored;
  return vpp_ended ? code : exit_code.gave_up;
}

/** Resolves with the exit code once the node has been stopped or has given up, and the host has its network back. `ending` stops it. */
export async function runNode(
  parts: NodeParts,
  warnings: readonly string[],
  ending: AbortSignal = endSignals(),
): Promise<number> {
  const { config, clock, log } = parts;
  for (const warning of warnings) log.warn({}, `config(read) ${warning}`);

  let publish = (): void => undefined;
  const serves = config.gates.services && config.kubernetes;
  const board = conditionBoard(clock, ['vpp', 'uplink', ...(serves ? ['services'] : []), 'cni'], () =>
    publish(),
  );
  const sync = new SyncReports();
  const cniCounts = new CniCounts(clock);
  const serviceNames = new ServiceNames();
  let gaveUp: string | undefined;
  const ended = new Promise<number>((resolve) => {
    const system = createActorSystem({
      name: 'root',
      clock,
      log,
      supervision: root_supervision,
      escalated: (reason) => giveUp(reason),
    });
    const healthPorts = new HealthPorts({
      publish: (health) => debug.serveHealth(health),
      proxy: config.healthz,
      machine_ms: () => Number(machineTime_ns()) / 1e6,
      clock,
      log,
    });
    const debug = startDebug({
      config,
      warnings,
      system,
      conditions: () => board.list(),
      sync: () => ({
        ...Object.fromEntries(board.list().map(({ name, ...condition }) => [name, condition])),
        ...sync.all(),
      }),
      vppApi: () => system.describe(`${system.root.path}/vpp/vpp-connection`, 500),
      services: async (question) => {
        const shown = await system.ask(
          servicesRef(system),
          (reply: Reply<ShownServices>) => ({ type: 'Show' as const, question, reply }),
          show_services_ms,
        );
        return { ...shown, objects: serviceFaults(sync.all().cluster, question.service) };
      },
      why: (object) => whyOf(system, config.node_name, object),
      logLines: (lines) => parts.logRing.last(lines),
      policies: async (question) => {
        const shown = await system.ask(
          policiesRef(system),
          (reply: Reply<ShownPolicies>) => ({ type: 'Show' as const, question, reply }),
          show_policies_ms,
        );
        return { ...shown, doors: sync.all().doors };
      },
      describe: (path) => system.describe(path, 500),
      figures: () => figuresOf(system, sync, cniCounts),
      serviceNames: (version) => serviceNames.since(version),
      failed: () => gaveUp,
      healthFaults: (faults) => healthPorts.heard(faults),
      clock,
      log,
    });
    publish = () => debug.publish();

    // Nothing that goes wrong on the way to the end keeps the host from its network.
    const finished = (what: string, promise: Promise<void>): Promise<void> =>
      promise.catch((error: Error) => log.error({ err: error }, `node(stop) ${what}: ${error.message}`));

    let stopping = false;
    let endDoors = (): void => undefined;
    const stop = async (why: string, code: number): Promise<void> => {
      if (stopping) return;
      stopping = true;
      log.info({}, `node(stop) ${why}`);
      // What is there by now is the undo's, and load balancers are to look elsewhere.
      healthPorts.serve(false);
      endDoors();
      const closed = Promise.all([parts.hostServices.close(), parts.hostSilence.close()]).then(
        () => undefined,
      );
      await finished('tree', system.stop());
      await finished('services of the host', closed);
      const word = await lastWord(parts);
      healthPorts.close();
      await finished('debug', debug.close());
      resolve(exitCode(code, word));
    };
    const giveUp = (reason: Error): void => {
      gaveUp = reason.message;
      log.fatal({ err: reason }, `node(give up) ${reason.message}`);
      stop(reason.message, exit_code.gave_up);
    };
    const asked = (): void => void stop(String(ending.reason), exit_code.stopped);
    if (ending.aborted) return asked();
    ending.addEventListener('abort', asked);

    const gso = largeSegments(config.gates.gso, config.uplinks);
    if (gso !== config.gates.gso)
      log.info({}, 'config(gso) off: the driver of an uplink cannot cut large segments');

    // Who does not speak keeps the others from sweeping.
    const translations = new TranslationOwners(serves ? ['pods', 'services'] : ['pods']);
    const hostPorts = () => translations.keysOf('pods')?.flatMap((key) => servedAt(key) ?? []);
    parts.hostSilence.set('pods', hostPorts);
    translations.watch('pods', () => parts.hostSilence.set('pods', hostPorts));
    if (!serves) parts.hostSilence.set('services', () => []);

    const wiring = {
      parts,
      board,
      sync,
      gso,
      translations,
      policed: new PolicedInterfaces(),
      networkAddresses: new NetworkAddresses(),
      checksums: new SoftwareChecksums(),
      route_source: routeSource(config, existsSync(config.bgp.binary)),
      healthPorts,
      cniCounts,
      serviceNames,
    };
    if (config.felix) endDoors = watchDoors(wiring);
    // One of an earlier life goes on to announce, and nobody would look after it.
    if (wiring.route_source !== 'bgp')
      endGobgpd(parts).then(
        (ended) => ended && log.info({}, 'bgp(end) routes do not come from BGP any more: gobgpd is ended'),
        (error: Error) => log.error({ err: error }, `bgp(end) ${error.message}`),
      );
    startTree(system, {
      vppProcess: processOf(wiring, giveUp),
      vppConnection: (vpp_process) => connectionOf(wiring, vpp_process),
      uplink: (vpp_process, vpp) => uplinkOf(wiring, vpp_process, vpp),
      cluster: (uplink) => clusterActorOf(wiring, uplink),
      connectivity: (vpp, uplink, cluster) => connectivityOf(wiring, vpp, uplink, cluster),
      ...(wiring.route_source === 'bgp' && {
        bgp: {
          process: bgpProcessOf(wiring),
          session: (gobgpd, uplink, cluster, connectivity) =>
            bgpOf(wiring, gobgpd, uplink, cluster, connectivity, serves ? servicesRef(system) : undefined),
        },
      }),
      ...(serves && {
        services: (vpp, uplink, cluster) => servicesOf(wiring, vpp, uplink, cluster),
      }),
      ...(config.felix && { felix: felixOf(wiring, connectivityRef(system)) }),
      ...(config.felix && {
        policies: (vpp, uplink, felix) => policiesOf(wiring, vpp, uplink, felix),
      }),
      cni: (vpp, uplink) => cniOf(wiring, vpp, uplink),
    }).catch((error: Error) => {
      log.fatal({ err: error }, `node(start) ${error.message}`);
      stop('a part could not be started', exit_code.gave_up);
    });
  });
  return ended;
}
