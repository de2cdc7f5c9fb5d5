#!/usr/bin/env node
import {
  checkExitCode,
  configFindings,
  doorFindings,
  findings,
  gatherCheckFacts,
  renderFindings,
} from './check/check.js';
import { gatherWayBack, wayBackFindings } from './check/check-way-back.js';
import { tryDoorsOf } from './check/trial-vpp.js';
/** The entry of the process: which subcommand, from which environment. */
import { runCli } from './cli/cli.js';
import { systemClock } from './clock.js';
import { Environment, variables } from './config/variables.js';
import { ConfigError, loadConfig, loadRestoreConfig, type RestoreConfig } from './config.js';
import { runCommand } from './host/command.js';
import { bootId } from './host/devices/sysfs.js';
import { findHostRoot } from './host/host-root.js';
import { AlreadyRunning, type InstanceLock, lockInstance } from './host/instance-lock.js';
import { LinuxHost } from './host/netlink/linux-host.js';
import { within } from './linux/within.js';
import { endSignals } from './node/end-signals.js';
import { lastWord } from './node/last-word.js';
import { hostRootOf, openMachine, restoreParts } from './node/parts.js';
import { startNode } from './node/start.js';
import { byOwnNames } from './uplink/own-names.js';
import { cnatWarnings } from './vpp-conn/startup-warnings.js';

const failed = 1;
/** In an upgrade the old life is still giving the host back when the new one begins. */
const upgrade_ms = 60_000;

// Without a listener a reader that has gone would end this process, in the midst of giving a host its network back.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

/** The configuration, or nothing after its faults have been printed. */
function readConfig<T>(load: (env: NodeJS.ProcessEnv) => T, env: NodeJS.ProcessEnv): T | undefined {
  try {
    return load(env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(renderFindings(configFindings(error.problems)));
    return undefined;
  }
}

/** Runs what only one life on a node may do; waits so long for the one before to end. */
async function alone(config: RestoreConfig, wait_ms: number, run: () => Promise<number>): Promise<number> {
  let lock: InstanceLock;
  try {
    lock = await lockInstance(config.paths.state_dir, systemClock, wait_ms);
  } catch (error) {
    if (!(error instanceof AlreadyRunning)) throw error;
    process.stderr.write(`calico-vpp-node: ${error.message}\n`);
    return failed;
  }
  try {
    return await run();
  } finally {
    lock.release();
  }
}

/** Needs paths alone, as `restore` does. */
async function checkWayBack(env: NodeJS.ProcessEnv): Promise<number> {
  const config = readConfig(loadRestoreConfig, env);
  if (config === undefined) return failed;
  const environment = new Environment(env);
  const lock = await lockInstance(config.paths.state_dir, systemClock, 0).catch((error: Error) => {
    if (error instanceof AlreadyRunning) return undefined;
    throw error;
  });
  // A restore that begins now is not kept from its work.
  lock?.release();
  const facts = await gatherWayBack(config, {
    run: runCommand,
    host_root: findHostRoot(environment.read(variables.host_root), !environment.isSet(variables.host_root)),
    host: new LinuxHost(config.paths.netns_dir),
    boot_id: bootId() ?? 'unknown',
    wall_ms: systemClock.wall_ms(),
    runs: lock === undefined,
    status_directory: environment.read(variables.endpoint_status_dir),
  });
  const found = wayBackFindings(facts);
  process.stdout.write(renderFindings(found));
  return checkExitCode(found);
}

/** When the configuration is read: neither VPP nor a hook has any use for them. */
function forgetSecrets(): void {
  delete process.env.CALICOVPP_IPSEC_IKEV2_PSK;
}

const code = await runCli(process.argv.slice(2), process.env, {
  async run({ env }) {
    const read = readConfig(loadConfig, env);
    if (read === undefined) return failed;
    forgetSecrets();
    const { config } = read;
    return alone(config, upgrade_ms, () => startNode(config, read.warnings));
  },

  async check({ env, options }) {
    if (options.back === true) return checkWayBack(env);
    const read = readConfig(loadConfig, env);
    if (read === undefined) return failed;
    forgetSecrets();
    const host = new LinuxHost(read.config.paths.netns_dir);
    const config = within(host.open(), (own) => byOwnNames(read.config, own));
    const facts = await gatherCheckFacts(config, {
      host_root: hostRootOf(config),
      openNetwork: () => host.open(),
      run: runCommand,
    });
    const warnings = [...read.warnings, ...cnatWarnings(config.vpp.config_template ?? '')];
    const is_tried = config.felix && facts.vpp_binary === 'ok' && facts.is_root;
    const found = [
      ...configFindings([], warnings),
      ...findings(config, facts),
      ...(is_tried
        ? doorFindings(await tryDoorsOf(config.vpp, systemClock).catch((error: Error) => error))
        : []),
    ];
    process.stdout.write(renderFindings(found));
    return checkExitCode(found);
  },

  async restore({ env }) {
    const config = readConfig(loadRestoreConfig, env);
    if (config === undefined) return failed;
    return alone(config, 0, async () => {
      const ending = endSignals();
      const parts = restoreParts(config, openMachine(config));
      ending.addEventListener('abort', () => {
        parts.log.info({}, `host(restore) ${ending.reason}: it ends when the host has its network`);
      });
      const { restored, vpp_ended } = await lastWord(parts);
      return restored && vpp_ended ? 0 : failed;
    });
  },

  async demo({ options }) {
    const { runDemo } = await import('../lab/demo.js');
    return runDemo({ stay: options.stay === true });
  },
});
process.exit(code);
