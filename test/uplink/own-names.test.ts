import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import { byOwnNames } from '../../src/uplink/own-names.js';
import { second_spec, specOf } from './uplink-lab.js';

t.test(
  'an uplink has the own name of its device; one that is not there keeps what it was called',
  async (t) => {
    const network = new FakeHostNetwork();
    const link = network.addPhysical({ name: 'eth0', mac: '02:00:00:00:00:01' });
    network.open().apply({ do: 'add_altname', link, altname: 'enp0s31f6' });
    const main_uplink = specOf({ interface_name: 'enp0s31f6' });
    t.same(byOwnNames({ uplinks: [main_uplink, second_spec], main_uplink }, network.open()), {
      uplinks: [specOf(), second_spec],
      main_uplink: specOf(),
    });
  },
);
