/** Compiled policies on a real VPP, by its own word (`npol match`): it says of every packet what the stand-in says, and Calico. */
import fc from 'fast-check';
import t from 'tap';
import { connect, unixTransport } from 'vpp-binapi-ts';
import { create_loopback } from 'vpp-binapi-ts/interface';
import { findRealVpp, startRealVpp } from '../../lab/real-vpp.js';
import { verdict } from '../../lab/vpp/npol-verdict.js';
import type { Packet } from '../kit/policy-evaluator.js';
import { program, said } from '../policies/real-npol.js';
import { built, flowOf, packet, places, points, type Scene, scene, smallest } from '../policies/scenes.js';

const found = findRealVpp();

t.test(
  'a real VPP says of every packet what Calico says',
  { skip: found.usable ? false : found.why },
  async (t) => {
    if (!found.usable) return;
    const running = await startRealVpp(found);
    t.teardown(() => running.stop());
    const vpp = await connect({
      transport: unixTransport(running.api_socket),
      name: 'policies',
      deadline_ms: 10_000,
    });
    t.teardown(() => vpp.close());
    const indexes: number[] = [];
    for (const _ of points)
      indexes.push((await vpp.request(create_loopback, { mac_address: '00:00:00:00:00:00' })).sw_if_index);
    let compared = 0;
    const check = async (scene: Scene, packets: readonly Packet[]): Promise<void> => {
      const all = built(scene);
      const undo = await program(vpp, all, indexes);
      const refused = points.some(([tag]) =>
        all.compiler.refusals(tag).some(({ effect }) => effect === 'closed'),
      );
      try {
        for (const packet of packets) {
          const flow = flowOf(packet);
          for (const [i, { where, calico, inbound, index, npol }] of places(
            scene,
            all.npol,
            packet,
          ).entries()) {
            const real = await said(vpp, indexes[index - 1]!, inbound, flow);
            compared += 1;
            if (real !== npol || (real !== calico && !(refused && real === 'deny')))
              throw new Error(
                `${i} ${where}: Calico ${calico}, stand-in ${npol}, VPP ${real}: ${JSON.stringify(packet)}`,
              );
          }
          if (verdict(all.npol, 99, true, flow) !== 'allow') throw new Error('an interface without policies');
        }
      } finally {
        await undo();
      }
    };
    await fc.assert(fc.asyncProperty(scene, fc.array(packet, { minLength: 1, maxLength: 15 }), check), {
      numRuns: Number(process.env.POLICY_RUNS ?? 100),
      asyncReporter: async (details) => smallest(details),
    });
    t.ok(compared > 1000, `${compared} verdicts compared`);
  },
);
