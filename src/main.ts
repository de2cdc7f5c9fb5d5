#!/usr/bin/env node
/** The entry of the process: which subcommand, from which environment. */
import { runCli } from './cli/cli.js';
import type { Problem } from './config/problem.js';
import { type Config, ConfigError, loadConfig } from './config.js';
import { checkExitCode, configFindings, findings, gatherCheckFacts, renderFindings } from './host/check.js';
import { runCommand } from './host/command.js';
import { LinuxHost } from './host/linux-host.js';
import { without_cluster } from './k8s/cluster.js';
import { lastWord, linuxParts, type NodeParts, runNode } from './run.js';
import { driver_names } from './uplink/drivers.js';

const failed = 1;

/** The configuration, or nothing after its faults have been printed. */
function readConfig(
  env: NodeJS.ProcessEnv,
): { readonly config: Config; readonly warnings: readonly string[] } | undefined {
  try {
    return loadConfig(env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(renderFindings(configFindings(error.problems)));
    return undefined;
  }
}

/** Until there is a client of the Kubernetes API, the configuration is all there is. */
async function nodeParts(config: Config): Promise<NodeParts> {
  const cluster = without_cluster;
  return linuxParts(config, cluster, await cluster.nodeAnnotations());
}

/** What a configuration may name and this version does not have. */
function missing(config: Config): Problem[] {
  return config.uplinks.flatMap(({ interface_name, driver }) =>
    driver === undefined || driver_names.includes(driver)
      ? []
      : [
          {
            variable: 'CALICOVPP_INTERFACES',
            path: `uplink ${interface_name}`,
            cause: `driver ${driver} is not in this version`,
            step: `use one of ${driver_names.join(', ')}`,
          },
        ],
  );
}

const code = await runCli(process.argv.slice(2), process.env, {
  async run({ env }) {
    const read = readConfig(env);
    if (read === undefined) return failed;
    const problems = missing(read.config);
    if (problems.length === 0) return runNode(await nodeParts(read.config), read.warnings);
    process.stderr.write(renderFindings(configFindings(problems)));
    return failed;
  },

  async check({ env }) {
    const read = readConfig(env);
    if (read === undefined) return failed;
    const host = new LinuxHost(read.config.paths.netns_dir);
    const facts = await gatherCheckFacts(read.config, {
      host_root: read.config.paths.host_root,
      openNetwork: () => host.open(),
      run: runCommand,
    });
    const found = [...configFindings(missing(read.config), read.warnings), ...findings(read.config, facts)];
    process.stdout.write(renderFindings(found));
    return checkExitCode(found);
  },

  async restore({ env }) {
    const read = readConfig(env);
    if (read === undefined) return failed;
    return (await lastWord(await nodeParts(read.config))) ? 0 : failed;
  },

  async demo({ options }) {
    const { runDemo } = await import('../lab/demo.js');
    return runDemo({ stay: options.stay === true });
  },
});
process.exit(code);
