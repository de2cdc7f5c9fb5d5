import type { RunCommand } from '../command.js';

/** The services that may manage the host's links, in the order in which the first one present is taken. */
export const NETWORK_SERVICES = ['systemd-networkd', 'NetworkManager', 'networking', 'network'] as const;
export type NetworkService = (typeof NETWORK_SERVICES)[number];

const QUESTION_TIMEOUT_MS = 5_000;

export interface NetworkServices {
  /** Is systemd there and answering? Without it nothing else is known. */
  readonly systemd: boolean;
  readonly active: readonly NetworkService[];
}

/**
 * One question to systemctl for all of them. `prefix` comes before every command, e.g. `['chroot', '/host']`.
 * A machine without systemd is no error.
 */
export async function networkServices(
  run: RunCommand,
  prefix: readonly string[] = [],
): Promise<NetworkServices> {
  const argv = [...prefix, 'systemctl', 'is-active', ...NETWORK_SERVICES];
  const { code, stdout } = await run(argv, { timeout_ms: QUESTION_TIMEOUT_MS });
  const states = stdout.trimEnd().split('\n');
  // One line per service, whatever they are; anything else is not systemd's answer.
  if (code === 127 || states.length !== NETWORK_SERVICES.length) return { systemd: false, active: [] };
  return { systemd: true, active: NETWORK_SERVICES.filter((_, i) => states[i] === 'active') };
}

/** The properties that udev gave a link, e.g. `ID_NET_NAME_PATH`; empty where there is no udev. */
export async function udevProperties(
  link_name: string,
  run: RunCommand,
  prefix: readonly string[] = [],
): Promise<ReadonlyMap<string, string>> {
  const argv = [...prefix, 'udevadm', 'info', '--query=property', `/sys/class/net/${link_name}`];
  const { code, stdout } = await run(argv, { timeout_ms: QUESTION_TIMEOUT_MS });
  if (code !== 0) return new Map();
  return new Map(
    stdout.split('\n').flatMap((line) => {
      const at = line.indexOf('=');
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : [];
    }),
  );
}
