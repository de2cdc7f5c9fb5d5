/** One case: the host's network before the node, while it runs, after it, and a lifetime of what was leased later. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostUnderTest } from './host.js';
import { differences, type Look, type Section, sections, while_running } from './look.js';

export interface Report {
  /** None: it passed. */
  readonly problems: readonly string[];
  readonly notes: readonly string[];
}

/** For network managers to have done their work. */
const settle_ms = 30_000;
const look_interval_ms = 2000;
/** Longer than a client of DHCP asks for what it had, and shorter than a lease of the case. */
const silence_of_servers_ms = 20_000;
/** Beyond a lifetime. */
const margin_ms = 10_000;

export async function runCase(host: HostUnderTest): Promise<Report> {
  const problems: string[] = [];
  const notes: string[] = [];
  try {
    await liveThrough(host, problems, notes);
  } catch (error) {
    problems.push((error as Error).message);
  }
  return { problems, notes };
}

async function liveThrough(host: HostUnderTest, problems: string[], notes: string[]): Promise<void> {
  const { item, machine } = host;
  const lifetime_ms = item.lifetime_s === undefined ? 0 : item.lifetime_s * 1000 + margin_ms;

  await host.begin();
  const missing = await until(async () => [...(await host.unreachable()), ...(await host.unaddressed())]);
  if (missing.length > 0) throw new Error(`before: the host has no network: ${missing.join('; ')}`);
  const before = await host.look();

  const expectSameNow = async (when: string, compared: readonly Section[]): Promise<void> => {
    const wrong = await until(() => whatIsWrong(host, before, compared));
    problems.push(...wrong.map((text) => `${when}: ${text}`));
  };
  const expectSame = async (when: string, compared: readonly Section[]): Promise<void> => {
    await expectSameNow(when, compared);
    if (lifetime_ms === 0) return;
    await sleep(lifetime_ms);
    await expectSameNow(`${when}, a lifetime later`, compared);
  };

  if (item.refused !== undefined) {
    const said = await host.check();
    if (!item.refused.test(said)) problems.push(`check does not refuse it with ${item.refused}: ${said}`);
    await host.startNode();
    await host.untilRefused(item.refused);
    await expectSame('while it is refused', sections);
    problems.push(...wrongEnd(await host.stopNode(), ''));
    await expectSame('after', sections);
    return;
  }

  const measure = async (when: string): Promise<void> => {
    if (item.throughput === undefined) return;
    const { problems: wrong, figures } = await host.throughput(item.throughput);
    problems.push(...wrong);
    notes.push(`${when}: ${figures}`);
  };
  await measure('by Linux');
  const began = Date.now();
  await host.startAsking();
  await host.startNode();
  await host.untilReady();
  notes.push(`ready after ${((Date.now() - began) / 1000).toFixed(0)} s`);
  notes.push(`outage ${await outage(host, 'while VPP takes over', problems)}`);
  const { workers = 0 } = item;
  const found = await host.workers();
  if (found !== workers) problems.push(`VPP has ${found} workers instead of ${workers}`);
  await expectSame('while', while_running);
  await measure('by VPP');
  if (item.pods !== undefined) {
    if ((await host.vhostNets()) === 0)
      problems.push('no tap of VPP is served by the vhost-net of the kernel');
    const { problems: of_pods, figures } = await host.pods(item.pods);
    problems.push(...of_pods);
    notes.push(figures);
    await expectSameNow('after the pods', while_running);
  }

  if (item.ending === 'kill') {
    await host.killNode();
    await host.startNode();
    await host.untilReady();
    await expectSame('after the kill', while_running);
  }
  if (item.ending === "VPP's death") {
    await host.startAsking();
    if (item.silent_servers) await host.letServersAnswer(false);
    await host.killVpp();
    const servers = item.silent_servers
      ? sleep(silence_of_servers_ms).then(() => host.letServersAnswer(true))
      : undefined;
    await Promise.all([host.untilReady(), servers]);
    notes.push(`at VPP's death ${await outage(host, "at VPP's death", problems)}`);
    await expectSame("after VPP's death", while_running);
  }
  if (item.ending === 'kill for good') {
    await host.killNode();
    // A card that has left its kernel driver has it back from a restore alone.
    const lacking = leavesItsDriver(item) ? [] : await until(() => host.unreachable());
    problems.push(...lacking.map((text) => `with nobody to come back: ${text}`));
    problems.push(...(await host.restore()));
  } else if (item.ending === 'power cut') await machine.cutPower();
  else if (item.ending === 'reboot')
    notes.push(`rebooted in ${((await machine.reboot()) / 1000).toFixed(0)} s`);
  else {
    await host.startAsking();
    await host.stopNode();
    notes.push(`at the end ${await outage(host, 'at the end', problems)}`);
  }
  if (item.ending !== 'power cut' && item.ending !== 'kill for good')
    problems.push(...wrongEnd(await host.howItEnded(), await host.lastWords()));
  await expectSame('after', sections);
}

/** The drivers beside these are for PCI devices that the kernel drives no more. */
const of_the_kernel: readonly string[] = ['af_packet', 'af_xdp'];

const leavesItsDriver = ({ drivers = [] }: HostUnderTest['item']): boolean =>
  drivers.some((driver) => !of_the_kernel.includes(driver));

function wrongEnd(ended: string, last_words: string): string[] {
  return ended === 'success exited 0' ? [] : [`the node ended with: ${ended}\n${last_words}`];
}

async function outage(host: HostUnderTest, when: string, problems: string[]): Promise<string> {
  const longest = [...(await host.longestSilences())];
  const { silence_ms_max = host.machine.silence_ms_max } = host.item;
  for (const [family, { ms, from }] of longest)
    if (ms > silence_ms_max)
      problems.push(
        `${when}: nothing is reached by IPv${family} for ${ms} ms from ${from}, and may be for ${silence_ms_max} ms`,
      );
  return longest.map(([family, { ms }]) => `IPv${family} ${ms} ms`).join(', ');
}

async function whatIsWrong(
  host: HostUnderTest,
  before: Look,
  compared: readonly Section[],
): Promise<string[]> {
  return [
    ...(await host.unreachable()),
    ...(await host.expired()),
    ...differences(before, await host.look(), compared),
  ];
}

/** Asks until nothing is wrong; the last answer when that takes too long. */
async function until(ask: () => Promise<string[]>): Promise<string[]> {
  const deadline = Date.now() + settle_ms;
  for (;;) {
    const wrong = await ask();
    if (wrong.length === 0 || Date.now() > deadline) return wrong;
    await sleep(look_interval_ms);
  }
}
