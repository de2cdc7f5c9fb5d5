import type { CommandResult, RunCommand } from '../command.js';

/** The services that may manage the host's links, in the order in which the first one present is taken. */
export const NETWORK_SERVICES = ['systemd-networkd', 'NetworkManager', 'networking', 'network'] as const;
export type NetworkService = (typeof NETWORK_SERVICES)[number];

export const question_ms = 5000;
/** The exit status of `RunCommand` for a program that was killed at its deadline. */
const timed_out = 124;

/**
 * Questions to the host by its programs. One that is not answered in time is asked once more, for a machine that has just booted is slow; after that it
 * counts as answered by nobody, and is told.
 */
export class Questions {
  readonly unanswered: string[] = [];

  /** `prefix` comes before every command, e.g. `['chroot', '/host']`. */
  constructor(
    private readonly run: RunCommand,
    private readonly prefix: readonly string[] = [],
  ) {}

  async ask(...argv: readonly string[]): Promise<CommandResult> {
    const put = () => this.run([...this.prefix, ...argv], { timeout_ms: question_ms });
    const first = await put();
    const answer = first.code === timed_out ? await put() : first;
    if (answer.code === timed_out) this.unanswered.push(argv.join(' '));
    return answer;
  }
}

export interface NetworkServices {
  /** Is systemd there and answering? Without it nothing else is known. */
  readonly systemd: boolean;
  readonly active: readonly NetworkService[];
}

/** One question to systemctl for all of them. A machine without systemd is no error. */
export async function networkServices(questions: Questions): Promise<NetworkServices> {
  const { code, stdout } = await questions.ask('systemctl', 'is-active', ...NETWORK_SERVICES);
  const states = stdout.trimEnd().split('\n');
  // One line per service, whatever they are; anything else is not systemd's answer.
  if (code === 127 || states.length !== NETWORK_SERVICES.length) return { systemd: false, active: [] };
  return { systemd: true, active: NETWORK_SERVICES.filter((_, i) => states[i] === 'active') };
}

/** The properties that udev gave a link, e.g. `ID_NET_NAME_PATH`; empty where there is no udev. */
export async function udevProperties(
  link_name: string,
  questions: Questions,
): Promise<ReadonlyMap<string, string>> {
  const device = `/sys/class/net/${link_name}`;
  const { code, stdout } = await questions.ask('udevadm', 'info', '--query=property', device);
  if (code !== 0) return new Map();
  return new Map(
    stdout.split('\n').flatMap((line) => {
      const at = line.indexOf('=');
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : [];
    }),
  );
}
