import { strict as assert } from 'node:assert';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildShim } from '../../lab/real-vpp.js';
import type { Fault, FaultLab } from './fault-lab.js';

const replacements_max = 2;

/** How many times as fast as ours VPP's clock goes. */
async function rate({ node }: FaultLab): Promise<number> {
  const look = async () => {
    const vpp_s = Number(/^Time now (\S+),/.exec(await node.cli('show clock'))?.[1]);
    return { vpp_s, own_s: performance.now() / 1000 };
  };
  const before = await look();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const now = await look();
  return (now.vpp_s - before.vpp_s) / (now.own_s - before.own_s);
}

async function conditionOf({ node }: FaultLab): Promise<string> {
  const { conditions } = (await node.status())!;
  return conditions.find(({ name }) => name === 'vpp')!.reason;
}

async function isRight(lab: FaultLab): Promise<void> {
  const is = await rate(lab);
  assert.ok(Math.abs(is - 1) < 0.1, `VPP's clock goes ${is} times as fast`);
  assert.doesNotMatch(await conditionOf(lab), /clock/);
}

const replaced = ({ node }: FaultLab): number => node.lastWords(10_000).split('vpp(replace)').length - 1;

export const fault: Fault = {
  name: 'vpp-wrong-clock',
  what: 'VPPs begin with wrong clocks: two are replaced before they have anything, a third is kept and said, by the next life as well',
  by_itself: true,
  async run(lab) {
    const { node } = lab;
    const shim = buildShim('clock-shim');
    if ('why' in shim) throw new Error(shim.why);
    const wrongs = join(node.directory, 'wrong-clocks');
    mkdirSync(wrongs);
    const wrong = (count: number): void => {
      for (let n = 0; n < count; n += 1) writeFileSync(join(wrongs, `${n}`), '');
    };
    const environment = JSON.parse(node.environment.CALICOVPP_VPP_ENVIRONMENT!) as Record<string, string>;
    const preload = [shim.path, environment.LD_PRELOAD].filter(Boolean).join(':');
    node.setEnvironment({
      CALICOVPP_VPP_ENVIRONMENT: JSON.stringify({ ...environment, LD_PRELOAD: preload, CLOCK_SHIM: wrongs }),
    });

    wrong(replacements_max);
    await lab.begin();
    assert.deepEqual(readdirSync(wrongs), [], 'it has happened');
    assert.equal(replaced(lab), replacements_max);
    await isRight(lab);

    wrong(100);
    const right = node.vppPid()!;
    process.kill(right, 'SIGKILL');
    await node.untilOtherVpp(right);
    await node.untilReady();
    await lab.settled();
    assert.equal(replaced(lab), 2 * replacements_max);
    const is = await rate(lab);
    assert.ok(is < 0.5, `VPP's clock goes ${is} times as fast`);
    assert.match(await conditionOf(lab), /clock is wrong.*it is kept/);

    const kept = node.vppPid()!;
    await node.kill('SIGKILL');
    node.launch();
    await lab.settled();
    assert.equal(node.vppPid(), kept, 'the next life does not replace it');
    assert.match(await conditionOf(lab), /clock is wrong.*it is kept/);

    rmSync(wrongs, { recursive: true });
    await node.kill('SIGKILL');
    const record = join(node.config.paths.run_dir, 'vpp-run.json');
    const { clock, ...earlier } = JSON.parse(readFileSync(record, 'utf8'));
    assert.equal(clock, 'kept');
    writeFileSync(record, JSON.stringify(earlier));
    node.launch();
    await node.untilOtherVpp(kept);
    await lab.settled();
    assert.equal(
      replaced(lab),
      2 * replacements_max + 1,
      'one of which that is not known is replaced, in use as it is',
    );
    await isRight(lab);
    await lab.end();
    return undefined;
  },
};
