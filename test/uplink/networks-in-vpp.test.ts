import t from 'tap';
import { networkObjects } from '../../src/desired/networks.js';
import { networkTables } from '../../src/desired/tables.js';
import type { VppObject } from '../../src/objects/object.js';
import { NetworksInVpp } from '../../src/uplink/networks-in-vpp.js';

const of = (name: string, vni: number) => ({ name, vni, physical_network: '' });
const used: VppObject = {
  kind: 'route',
  source: 'pods',
  table_id: networkTables(1).main,
  prefix: '10.0.0.1/32',
  paths: [{ via: 'drop' }],
};

t.test('tables of a network go when nobody is in it', async (t) => {
  let now_ms = 0;
  let reads = 0;
  let held: readonly VppObject[] = [used];
  const networks = new NetworksInVpp({ now_ms: () => now_ms } as never);
  const read = async (): Promise<readonly VppObject[]> => {
    reads += 1;
    return held;
  };
  networks.found(networkObjects(1));
  t.strictSame(networks.vnis, [1], 'what an earlier life has left');
  t.strictSame([networks.leaving, networks.looks_in_ms], [[], undefined], 'stays while nothing is told');

  networks.told = [of('two', 2)];
  networks.vnis = await networks.next(read);
  t.strictSame([networks.vnis, networks.leaving, reads], [[1, 2], [1], 0]);
  now_ms += networks.looks_in_ms!;
  networks.vnis = await networks.next(read);
  t.strictSame([networks.vnis, reads], [[1, 2], 1], 'a pod is in it');
  t.ok(networks.looks_in_ms! > 0, 'it is looked again later');

  networks.told = [of('one', 1), of('two', 2)];
  t.strictSame([networks.leaving, networks.looks_in_ms], [[], undefined], 'it has come back');
  networks.told = [of('two', 2)];
  held = [];
  t.ok(networks.looks_in_ms! > 0);
  now_ms += networks.looks_in_ms!;
  networks.vnis = await networks.next(read);
  t.strictSame([networks.vnis, networks.looks_in_ms], [[2], undefined]);
});
