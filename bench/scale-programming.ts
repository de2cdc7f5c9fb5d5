/**
 * A hundred thousand routes, programmed as an owner does it, beside a bare client that keeps as many messages in flight on the same VPP;
 * and three owners that write at the same time.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';
import { ip_route_add_del_v2 } from 'vpp-binapi-ts/ip';
import type { VppObject } from '../src/objects/object.js';
import { Model } from '../src/reconcile/model.js';
import { pathTo } from '../src/vpp-conn/paths.js';
import { atLeast, atMost, median, quantile, type Report } from './figures.js';
import { type Cost, costOf, heapMegabytes } from './loop-meter.js';
import { routeAt, translationAt } from './many-objects.js';
import { type Connection, programAll, unwantAll, wantAll } from './owner.js';
import { probePauses } from './pause-probe.js';

const many = 100_000;
const services = 10_000;
const rounds = 3;
const in_flight = 64;
const ratio_max = 1.2;
const heap_mb_max = 20;
const delay_ms_max = 20;
const fair_min = 0.8;
const sample_ms = 200;
/** VPP's own source for what its API adds. */
const api_source = 8;

async function bareClient(client: Client, is_add: boolean): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < many) {
      const { table_id, prefix } = routeAt(next++, 'node', 21);
      const paths = [{ ...pathTo(4, {}), type: 'FIB_API_PATH_TYPE_DROP' as const }];
      const route = { table_id, prefix, stats_index: 0, src: api_source, paths };
      await client.request(ip_route_add_del_v2, { is_add, is_multipath: false, route });
    }
  };
  await Promise.all(Array.from({ length: in_flight }, one));
}

/** Round trips of what somebody waits for, one after the other, until `work` is done. */
async function waitsBeside(connection: Connection, work: Promise<unknown>): Promise<number[]> {
  let working = true;
  void work.finally(() => {
    working = false;
  });
  const waits: number[] = [];
  while (working) {
    const began_ms = performance.now();
    await connection.cli('show version');
    waits.push(performance.now() - began_ms);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await work;
  return waits;
}

async function besideBareClient(connection: Connection, api_socket: string, report: Report): Promise<void> {
  const bare = await connect({ transport: unixTransport(api_socket), name: 'bench-bare', window: in_flight });
  /** Routes are programmed while others still come. */
  const owner = async (model: Model): Promise<void> => {
    let coming = true;
    const all = wantAll(model, many, routeAt).finally(() => {
      coming = false;
    });
    while (coming || model.waiting > 0) {
      await programAll(connection, 'connectivity', model);
      await turn();
    }
    await all;
  };
  const costs: { readonly bare: Cost; readonly ours: Cost }[] = [];
  // The first round warms up both, and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    const model = new Model();
    const alone = await costOf(() => bareClient(bare, true));
    await bareClient(bare, false);
    const ours = await costOf(() => owner(model));
    await unwantAll(model, many, routeAt);
    await programAll(connection, 'connectivity', model);
    if (round > 0) costs.push({ bare: alone, ours });
  }
  bare.close();
  const of = (what: (cost: { bare: Cost; ours: Cost }) => number): number => median(costs.map(what));
  const name = `${many.toLocaleString('en-US')} routes`;
  report({ name: `${name}, bare client`, value: of((c) => c.bare.took_ms), unit: 'ms' });
  report({ name: `${name}, an owner`, value: of((c) => c.ours.took_ms), unit: 'ms' });
  const ratio = of((c) => c.ours.took_ms / c.bare.took_ms);
  report(atMost(`${name}, owner to bare client`, ratio, 'ratio', ratio_max));
  report({ name: `${name}, bare client, CPU`, value: of((c) => c.bare.cpu_ms), unit: 'ms' });
  report({ name: `${name}, an owner, CPU`, value: of((c) => c.ours.cpu_ms), unit: 'ms' });
  const delay = of((c) => c.ours.delay_p99_ms);
  report(atMost(`${name}, event loop delay, p99`, delay, 'ms', delay_ms_max));
  report({ name: `${name}, longest block, bare client`, value: of((c) => c.bare.block_ms), unit: 'ms' });
  report({ name: `${name}, longest block, an owner`, value: of((c) => c.ours.block_ms), unit: 'ms' });
}

/** What one great transaction keeps beside the model, and what others wait for while the routes are programmed. */
async function meanwhile(connection: Connection, api_socket: string, report: Report): Promise<void> {
  const model = new Model();
  await wantAll(model, many, routeAt);
  const operations = model.take(many);
  const before_mb = heapMegabytes();
  const sampled_mb: number[] = [];
  const sampling = setInterval(() => sampled_mb.push(heapMegabytes()), sample_ms);
  const { outcomes } = await connection.transact('connectivity', operations);
  clearInterval(sampling);
  model.settle(outcomes);
  const most_mb = Math.max(...sampled_mb) - before_mb;
  report(
    atMost(`${many.toLocaleString('en-US')} routes in one transaction, heap`, most_mb, 'MB', heap_mb_max),
  );

  await unwantAll(model, many, routeAt);
  await programAll(connection, 'connectivity', model);
  await wantAll(model, many, routeAt);
  const pauses = await probePauses(api_socket);
  const waits = await waitsBeside(connection, programAll(connection, 'connectivity', model));
  await unwantAll(model, many, routeAt);
  await programAll(connection, 'connectivity', model);
  const pings = await pauses();
  report({ name: 'meanwhile: a ping by another connection, p50', value: median(pings), unit: 'ms' });
  report({ name: 'meanwhile: a ping by another connection, p99', value: quantile(pings, 0.99), unit: 'ms' });
  report({ name: 'meanwhile: a debug command, p50', value: median(waits), unit: 'ms' });
  report({ name: 'meanwhile: a debug command, p99', value: quantile(waits, 0.99), unit: 'ms' });
}

/** Routes, services, and the routes of services, each by its owner. Nobody may have gone on while another waited. */
async function sideBySide(connection: Connection, report: Report): Promise<void> {
  const owners = [
    { name: 'connectivity', count: many, at: (n: number): VppObject => routeAt(n) },
    { name: 'services', count: services, at: translationAt },
    { name: 'announcements', count: many, at: (n: number) => routeAt(n, 'services', 22) },
  ].map((owner) => ({ ...owner, model: new Model(), done: 0 }));
  for (const { model, count, at } of owners) await wantAll(model, count, at);
  let least: number | undefined;
  const cost = await costOf(() =>
    Promise.all(
      owners.map(async (owner) => {
        await programAll(connection, owner.name, owner.model, (operations) => {
          owner.done += operations;
        });
        least ??= Math.min(...owners.map(({ done }) => done)) / Math.max(...owners.map(({ done }) => done));
      }),
    ),
  );
  const name = 'three owners at once';
  report({ name: `${name}, all`, value: cost.took_ms, unit: 'ms' });
  report(atLeast(`${name}, least to most when one is through`, least!, 'ratio', fair_min));
  report(atMost(`${name}, event loop delay, p99`, cost.delay_p99_ms, 'ms', delay_ms_max));
  report({ name: `${name}, longest block`, value: cost.block_ms, unit: 'ms' });
  for (const { model, count, at, name } of owners) {
    await unwantAll(model, count, at);
    await programAll(connection, name, model);
  }
}

export async function benchProgramming(connection: Connection, api_socket: string, report: Report) {
  await besideBareClient(connection, api_socket, report);
  await meanwhile(connection, api_socket, report);
  await sideBySide(connection, report);
}
