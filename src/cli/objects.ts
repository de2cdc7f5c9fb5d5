/** `why` and `flows`: what there is of a pod, a service or the node. */
import { systemClock } from '../clock.js';
import { isAsItShouldBe, parseWanted, whyText } from '../debug/why.js';
import { distinct, type Flow, flowsIn, flowsText, NoSessions } from './flows.js';
import { exit_codes, type Invocation, type Streams, text } from './invocation.js';
import { askVpp, fetchWhy, type Sockets, socketsOf } from './node-client.js';
import { NodeRefused, numberOption, UsageError } from './usage.js';

function oneObject(operands: readonly string[]): string {
  const [object, ...more] = operands;
  if (object === undefined || more.length > 0 || parseWanted(object) === undefined)
    throw new UsageError(
      'one object is needed: NAMESPACE/NAME, pod/NAMESPACE/NAME, service/NAMESPACE/NAME or node',
    );
  return object;
}

export async function why({ env, options, operands }: Invocation, { stdout }: Streams): Promise<number> {
  const object = oneObject(operands);
  const found = await fetchWhy(text(options.socket) ?? socketsOf(env).debug, object);
  stdout.write(options.json ? `${JSON.stringify(found, null, 2)}\n` : whyText(found));
  return isAsItShouldBe(found) ? exit_codes.done : exit_codes.failed;
}

/** Each address is a question to VPP. */
const addresses_max = 16;
const flows_default = 100;
const flows_max = 10_000;
const every_s_default = 2;

async function look(sockets: Sockets, object: string, max: number) {
  const { addresses } = await fetchWhy(sockets.debug, object);
  const found: Flow[] = [];
  let unshown = addresses.length > addresses_max;
  for (const address of addresses.slice(0, addresses_max)) {
    // A flow has two sessions; VPP ends with a note when it has more.
    const said = await askVpp(sockets.cli, `show cnat session verbose 1 ip ${address} max ${2 * max}`);
    try {
      found.push(...flowsIn(said));
    } catch (error) {
      if (error instanceof NoSessions) throw new NodeRefused(error.message);
      throw error;
    }
    unshown ||= said.includes('only the first entries');
  }
  const flows = distinct(found);
  return { flows: flows.slice(0, max), unshown: unshown || flows.length > max };
}

export async function flows({ env, options, operands }: Invocation, { stdout }: Streams): Promise<number> {
  const object = oneObject(operands);
  const max = Math.floor(numberOption(options.max, 'max', flows_default, 1, flows_max));
  const every_s = numberOption(options.every, 'every', every_s_default, 0.1, 3600);
  const times = options.watch
    ? numberOption(options.times, 'times', Number.POSITIVE_INFINITY, 1, 1_000_000)
    : 1;
  const at = socketsOf(env);
  const sockets = {
    ...at,
    debug: text(options.socket) ?? at.debug,
    cli: text(options['cli-socket']) ?? at.cli,
  };
  let is_read = true;
  // `head` has seen enough, or the kubectl is gone that had this run in the pod.
  stdout.on('error', () => {
    is_read = false;
  });
  for (let n = 1; ; n += 1) {
    const { flows: found, unshown } = await look(sockets, object, max);
    if (n > 1 && !options.json) stdout.write(stdout.isTTY ? '\x1b[H\x1b[2J' : '\n');
    stdout.write(options.json ? `${JSON.stringify({ flows: found, unshown })}\n` : flowsText(found, unshown));
    if (n >= times || !is_read) return exit_codes.done;
    await systemClock.sleep(every_s * 1000);
  }
}
