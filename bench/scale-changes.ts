/** What a change, a reading and an adoption cost beside a hundred thousand routes and ten thousand services, and what many changes leave behind. */
import { setImmediate as turn } from 'node:timers/promises';
import { keyOf, type VppObject } from '../src/objects/object.js';
import type { Route } from '../src/objects/routing.js';
import { Model } from '../src/reconcile/model.js';
import type { Scope } from '../src/reconcile/snapshot.js';
import { atMost, median, type Report } from './figures.js';
import { type Cost, costOf, heapMegabytes } from './loop-meter.js';
import { routeAt, translationAt } from './many-objects.js';
import { adopt, type Connection, piece, programAll, wantAll } from './owner.js';

const many = 100_000;
const services = 10_000;
const changes = 1000;
const rounds = 5;
const change_ms_max = 1;
const block_ms_max = 20;
const growth_mb_max = 2;
const churn = 100_000;
/** Objects that are there at the same time while all changes. */
const churned = 1000;

/** The same prefix by another way. */
function other(route: Route): Route {
  return { ...route, paths: [{ via: 'lookup', table_id: 0 }] };
}

/** What is computed for one changed route, without what VPP does. */
async function oneChanged(model: Model, report: Report): Promise<void> {
  const { cpu_ms } = await costOf(() => {
    for (let n = 0; n < changes; n += 1) {
      const route = routeAt(n * 97);
      model.want(n % 2 === 0 ? other(route) : route);
      model.want(other(routeAt(n)));
      const operations = model.take(Number.POSITIVE_INFINITY);
      model.settle(operations.map((operation) => ({ operation })));
    }
  });
  report(atMost('one of 100,000 routes changed: CPU of the compare', cpu_ms / changes, 'ms', change_ms_max));
}

/** A change until VPP has answered it. */
async function oneProgrammed(connection: Connection, model: Model, report: Report): Promise<void> {
  const took: number[] = [];
  const { cpu_ms } = await costOf(async () => {
    for (let n = 0; n < changes; n += 1) {
      const began_ms = performance.now();
      model.want(n % 2 === 0 ? other(routeAt(0)) : routeAt(0));
      await programAll(connection, 'connectivity', model);
      took.push(performance.now() - began_ms);
    }
  });
  report({ name: 'one of 100,000 routes changed, until VPP has it, p50', value: median(took), unit: 'ms' });
  report({ name: 'one of 100,000 routes changed, all its CPU', value: cpu_ms / changes, unit: 'ms' });
}

async function adoption(connection: Connection, report: Report): Promise<void> {
  const costs: Cost[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const model = new Model();
    await wantAll(model, many, routeAt);
    costs.push(await costOf(() => adopt(connection, 'connectivity', model)));
    const { length } = model.take(Number.POSITIVE_INFINITY);
    if (length > 0)
      throw new Error(`bench scale: an adoption wants ${length} changes of what is as it should be`);
  }
  report({
    name: '100,000 routes read and compared',
    value: median(costs.map((c) => c.took_ms)),
    unit: 'ms',
  });
  report({
    name: '100,000 routes read and compared, CPU',
    value: median(costs.map((c) => c.cpu_ms)),
    unit: 'ms',
  });
  const block = median(costs.map((c) => c.block_ms));
  report(atMost('100,000 routes read and compared, longest block', block, 'ms', block_ms_max));
}

/** Another VPP: what is known of the old one is forgotten, and all is filed anew. */
async function anotherVpp(model: Model, report: Report): Promise<void> {
  const costs: Cost[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const cost = await costOf(async () => {
      model.forget();
      while (!model.scan(piece)) await turn();
    });
    costs.push(cost);
  }
  report(
    atMost(
      'another VPP, 100,000 routes filed anew, longest block',
      median(costs.map((c) => c.block_ms)),
      'ms',
      block_ms_max,
    ),
  );
}

/** Readings of those who have no routes. */
async function readings(connection: Connection, scopes: readonly Scope[], report: Report): Promise<void> {
  const costs: Cost[] = [];
  for (let round = 0; round < rounds; round += 1) costs.push(await costOf(() => connection.read(scopes)));
  const name = `reading of ${scopes.join(' and ')}`;
  report({ name: `${name}, CPU`, value: median(costs.map((c) => c.cpu_ms)), unit: 'ms' });
  report(atMost(`${name}, longest block`, median(costs.map((c) => c.block_ms)), 'ms', block_ms_max));
}

/** Adds, replaces and removes, over and over: what has grown when all is as it was? */
async function flat(
  connection: Connection,
  what: string,
  owner: string,
  versions: (at: number) => readonly [VppObject, VppObject],
  report: Report,
): Promise<void> {
  const model = new Model();
  const all = Array.from({ length: churned }, (_, at) => versions(at));
  let done = 0;
  const round = async (): Promise<void> => {
    for (const [first] of all) model.want(first);
    await programAll(connection, owner, model);
    for (const [, second] of all) model.want(second);
    await programAll(connection, owner, model);
    for (const [first] of all) model.unwant(keyOf(first));
    await programAll(connection, owner, model);
    done += 3 * churned;
  };
  for (let warm = 0; warm < 3; warm += 1) await round();
  const before_mb = heapMegabytes();
  const before = process.getActiveResourcesInfo().length;
  for (done = 0; done < churn; ) await round();
  const grown = heapMegabytes() - before_mb;
  report(
    atMost(`${churn.toLocaleString('en-US')} changes of ${what}, heap grows by`, grown, 'MB', growth_mb_max),
  );
  const handles = process.getActiveResourcesInfo().length - before;
  report(atMost(`${churn.toLocaleString('en-US')} changes of ${what}, more handles`, handles, 'handles', 0));
}

export async function benchChanges(connection: Connection, report: Report): Promise<void> {
  const model = new Model();
  await wantAll(model, many, routeAt);
  await programAll(connection, 'connectivity', model);
  const service_model = new Model();
  await wantAll(service_model, services, translationAt);
  await programAll(connection, 'services', service_model);

  await oneProgrammed(connection, model, report);
  await adoption(connection, report);
  await readings(connection, ['pods'], report);
  await readings(connection, ['node'], report);
  await readings(connection, ['services'], report);
  await oneChanged(model, report);
  await anotherVpp(model, report);

  await flat(
    connection,
    'routes',
    'connectivity',
    (at) => {
      const route = { ...routeAt(at), prefix: `23.0.${at >> 8}.${at & 255}/32` };
      return [route, other(route)];
    },
    report,
  );
  await flat(
    connection,
    'services',
    'services',
    (at) => {
      const service = translationAt(services + at);
      return [service, { ...service, backends: service.backends.slice(1) }];
    },
    report,
  );
}
