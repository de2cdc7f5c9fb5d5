/**
 * `pods.js SOCKET COUNT`, run on the host: so many pods by CNI, each with both families, all asked from the first one, then removed.
 * Writes what is wrong, a line each; then `figures` and how long it took. Nothing of it is left.
 */
import { execFile } from 'node:child_process';
import { argv, stdout } from 'node:process';
import { promisify } from 'node:util';
import { cniAdd, cniDel } from '../cni-driver.js';
import { NetnsLab } from '../netns.js';

/** As many at once as a kubelet may ask for. */
const at_once = 10;
/** An emulated processor is slow. */
const deadline_ms = 120_000;
const ping_timeout_s = 20;

const [socket = '', count = '1'] = argv.slice(2);
const names = Array.from({ length: Number(count) }, (_, index) => `pod${index}`);
const address4 = (index: number): string => `10.65.${index >> 8}.${index & 255}`;
const address6 = (index: number): string => `fd65::${(index + 1).toString(16)}`;

/** Of all, some at a time. What is thrown is a problem of that pod. */
async function each(what: string, work: (name: string, index: number) => Promise<void>): Promise<number> {
  const began = Date.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < names.length; index = next++) {
      try {
        await work(names[index]!, index);
      } catch (error) {
        stdout.write(`${what} ${names[index]}: ${(error as Error).message.trim().split('\n').at(-1)}\n`);
      }
    }
  };
  await Promise.all(Array.from({ length: at_once }, worker));
  return Date.now() - began;
}

function checked({ successful, errorMessage }: { successful: boolean; errorMessage: string }): void {
  if (!successful) throw new Error(errorMessage);
}

const run = promisify(execFile);
const lab = new NetnsLab();
try {
  const paths = names.map((name) => lab.namespace(name));
  const added_ms = await each('ADD', async (name, index) =>
    checked(
      await cniAdd({
        socket,
        netns: paths[index]!,
        pod: name,
        ips: [`${address4(index)}/32`, `${address6(index)}/128`],
        deadline_ms,
      }),
    ),
  );
  const asked_ms = await each('ping from', async (_, index) => {
    const other = index === 0 ? 1 : 0;
    for (const address of [address4(other), address6(other)])
      await run('nsenter', [
        `--net=${paths[index]}`,
        ...['ping', '-n', '-q', '-c', '3', '-i', '0.2', '-w', `${ping_timeout_s}`, address],
      ]);
  });
  const removed_ms = await each('DEL', async (_, index) =>
    checked(await cniDel({ socket, netns: paths[index]!, deadline_ms })),
  );
  const left_over = names.filter((name) => lab.run(name, 'ip', '-br', 'link').includes('eth0'));
  for (const name of left_over) stdout.write(`${name}: eth0 is still there\n`);
  stdout.write(
    `figures ${added_ms} ms for ${count} ADDs, ${asked_ms} ms for the pings, ${removed_ms} ms for the DELs\n`,
  );
} finally {
  lab.close();
}
