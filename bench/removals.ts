/** Pods that go: what a DEL takes, one after the other and all at once, and what it costs those who stay or come. */
import type { RunningNode } from '../lab/running-node.js';
import { atMost, median, quantile, type Report } from './figures.js';
import { Plugin, range, withNode } from './node.js';
import { probePauses } from './pause-probe.js';

const in_row = 100;
const few = 50;
const many = 110;
const comers = 100;
const del_p50_ms_max = 15;
const few_ms_max = 500;
const many_ms_max = 1000;
const pause_ms_max = 2;
const add_ratio_max = 1.5;

async function inRow(node: RunningNode, plugin: Plugin, report: Report): Promise<void> {
  const api_socket = node.config.paths.api_socket;
  for (const at of range(0, in_row)) await plugin.add(at);
  const quiet = await probePauses(api_socket);
  for (const _ of range(0, in_row)) await plugin.nothing();
  const undisturbed = await quiet();
  const probe = await probePauses(api_socket);
  const dels: number[] = [];
  for (const at of range(0, in_row)) dels.push(await plugin.del(at));
  const pauses = await probe();
  report(atMost(`DEL, ${in_row} in a row, p50`, median(dels), 'ms', del_p50_ms_max));
  report({ name: `DEL, ${in_row} in a row, p99`, value: quantile(dels, 0.99), unit: 'ms' });
  report({ name: 'VPP stops, nothing happens, longest', value: Math.max(...undisturbed), unit: 'ms' });
  report({ name: `VPP stops, ${in_row} DELs in a row, p99`, value: quantile(pauses, 0.99), unit: 'ms' });
  report(atMost(`VPP stops, ${in_row} DELs in a row, longest`, Math.max(...pauses), 'ms', pause_ms_max));
}

/** Milliseconds until all of these are gone. */
async function allAtOnce(plugin: Plugin, count: number): Promise<number> {
  await Promise.all(range(0, count).map((at) => plugin.add(at)));
  const began_ms = performance.now();
  await Promise.all(range(0, count).map((at) => plugin.del(at)));
  return performance.now() - began_ms;
}

/** ADDs while nothing goes, and while as many go one after the other. */
async function beside(plugin: Plugin, report: Report): Promise<void> {
  const add = async (): Promise<number[]> => {
    const times: number[] = [];
    for (const at of range(many, many + comers)) times.push(await plugin.add(at));
    return times;
  };
  const clear = async (): Promise<void> => {
    for (const at of range(many, many + comers)) await plugin.del(at);
  };
  await add();
  await clear();
  const quiet = await add();
  await clear();
  for (const at of range(0, in_row)) await plugin.add(at);
  const leaving = (async () => {
    for (const at of range(0, in_row)) await plugin.del(at);
  })();
  const meanwhile = await add();
  await leaving;
  report({ name: 'ADD, nothing goes, p99', value: quantile(quiet, 0.99), unit: 'ms' });
  report({ name: `ADD, ${in_row} DELs beside, p99`, value: quantile(meanwhile, 0.99), unit: 'ms' });
  const ratio = quantile(meanwhile, 0.99) / quantile(quiet, 0.99);
  report(atMost('ADD p99, DELs beside, to nothing goes', ratio, 'ratio', add_ratio_max));
}

export async function bench(report: Report): Promise<void> {
  await withNode(many + comers, async (node) => {
    const plugin = new Plugin(node);
    await inRow(node, plugin, report);
    report(atMost(`${few} DELs at once, all`, await allAtOnce(plugin, few), 'ms', few_ms_max));
    report(atMost(`${many} DELs at once, all`, await allAtOnce(plugin, many), 'ms', many_ms_max));
    await beside(plugin, report);
  });
}
