/**
 * The stand-in answers as a real VPP. `contract.recorded.txt` holds what a real one answered: the stand-in is held against
 * it everywhere, and a real VPP where there is one. CONTRACT_RECORD=1 writes it anew, from a real VPP.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { type Client, connect, RetvalError, type Transport, unixTransport } from 'vpp-binapi-ts';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import { findRealVpp, startRealVpp } from '../../lab/real-vpp.js';
import { type Devices, RecordedDevices } from '../../lab/vpp/devices.js';
import { startStandInVpp } from '../../lab/vpp/stand-in.js';
import { TunDevices } from '../../lab/vpp/tun-devices.js';
import { sequences } from './contract/index.js';
import { namespace_placeholder, type Sequence, type Step } from './contract/steps.js';

const recorded_file = fileURLToPath(new URL('../../../test/vpp/contract.recorded.txt', import.meta.url));
const recording = process.env.CONTRACT_RECORD === '1';

/** By name of the sequence: `> ` and what was asked, then `< ` and what was answered, a line each. */
type Recorded = ReadonlyMap<string, readonly string[]>;

/** Entries that VPP makes for itself to follow recursive next hops and cnat clients; the stand-in has none. */
const internal_sources = [18, 23];

async function answers(transport: Transport, { steps }: Sequence, namespace: string): Promise<string[]> {
  const client = await connect({ transport, name: 'contract', deadline_ms: 10_000 });
  // The client's deadlines do not keep a process alive, and a connection in memory does not either.
  const alive = setInterval(() => {}, 60_000);
  const said: string[] = [];
  for (const step of steps) {
    said.push(`> ${step.message.name} ${normal(step.fields, namespace_placeholder)}`);
    for (const line of await answer(client, step, namespace)) said.push(`< ${line}`);
  }
  clearInterval(alive);
  client.close();
  return said;
}

async function answer(
  client: Client,
  { message, fields, unanswered }: Step,
  namespace: string,
): Promise<string[]> {
  const asked =
    'host_namespace' in fields && fields.host_namespace === namespace_placeholder
      ? { ...fields, host_namespace: namespace }
      : fields;
  const options = unanswered ? { deadline_ms: 300 } : {};
  const text = (value: unknown): string => normal(value, namespace);
  try {
    if (message.kind === 'dump') {
      const found = (await client.dump(message, asked as never, options)) as unknown[];
      return found
        .filter((details) => !isInternal(details))
        .map(text)
        .sort();
    }
    if (message.kind === 'stream') {
      const { details, reply } = await client.stream(message, asked as never, options);
      return [...details.map(text), text(reply)];
    }
    return [text(await client.request(message, asked as never, options))];
  } catch (error) {
    if (error instanceof RetvalError) return [text(error.reply)];
    const { code } = error as { code?: string };
    return [code === 'disconnected' ? 'VPP is gone' : code === 'deadline' ? 'no answer' : String(error)];
  }
}

function isInternal(details: unknown): boolean {
  const { route } = details as { route?: { src?: number } };
  return route?.src !== undefined && internal_sources.includes(route.src);
}

/** Without what differs between two runs (counters, ages, random MACs, paths of this test), and without fields that are zero. */
function normal(value: unknown, namespace: string): string {
  const shorten = function (this: unknown, key: string, field: unknown): unknown {
    if (key === 'stats_index' || key === 'age') return undefined;
    if (field instanceof Uint8Array)
      return Buffer.from(field)
        .toString('hex')
        .replace(/(00)+$/, '');
    if (field === 0xffff_ffff) return '~0';
    const is_zero =
      field === 0 || field === false || field === '' || (Array.isArray(field) && field.length === 0);
    return is_zero && !Array.isArray(this) ? undefined : field;
  };
  return JSON.stringify(value, shorten)
    .replaceAll(namespace, namespace_placeholder)
    .replace(/02:fe:[0-9a-f:]{11}/g, 'random')
    .replace(/fe80::fe:[0-9a-f:]+/g, 'random')
    .replaceAll('"', '');
}

const title = '= ';

function readRecorded(): Recorded {
  const recorded = new Map<string, string[]>();
  let lines: string[] = [];
  for (const line of readFileSync(recorded_file, 'utf8').trimEnd().split('\n')) {
    if (line.startsWith(title)) {
      lines = [];
      recorded.set(line.slice(title.length), lines);
    } else lines.push(line);
  }
  return recorded;
}

function writeRecorded(recorded: Recorded): void {
  const text = [...recorded].map(([name, lines]) => `${title}${name}\n${lines.join('\n')}\n`);
  writeFileSync(recorded_file, text.join(''));
}

const netns = canUseNetns();

t.test('the stand-in answers as a real VPP has answered', { skip: recording && 'records' }, async (t) => {
  const recorded = readRecorded();
  for (const sequence of sequences) {
    const skip = sequence.devices && netns !== undefined ? netns : false;
    t.test(sequence.name, { skip }, async (t) => {
      const lab = sequence.devices ? labWithUplink() : undefined;
      const namespace = lab?.namespace('pod') ?? '/pod';
      const devices: Devices = lab ? tunDevicesOf(lab) : new RecordedDevices();
      const vpp = await startStandInVpp({ devices });
      t.teardown(() => {
        vpp.close();
        lab?.close();
      });
      const said = await answers(vpp.transport(), sequence, namespace);
      t.same(said, recorded.get(sequence.name));
      if (sequence.dies) t.match(await vpp.ended, { how: 'died' });
    });
  }
});

const real = findRealVpp();
/** Each sequence has a VPP of its own, which takes half a second to start. */
const real_timeout_ms = 300_000;
if (real.usable) t.setTimeout(real_timeout_ms);
const skip = real.usable ? (netns ?? false) : real.why;

t.test('a real VPP answers as it was recorded', { skip, timeout: real_timeout_ms }, async (t) => {
  if (!real.usable) return;
  const recorded = new Map<string, string[]>();
  for (const sequence of sequences) {
    await t.test(sequence.name, async (t) => {
      const lab = labWithUplink();
      const vpp = await startRealVpp(real, { netns: lab.namespace('vpp') });
      t.teardown(async () => {
        await vpp.stop();
        lab.close();
      });
      const said = await answers(unixTransport(vpp.api_socket), sequence, lab.namespace('pod'));
      recorded.set(sequence.name, said);
      if (sequence.dies) t.equal(said.at(-1), '< VPP is gone');
      if (!recording) t.same(said, readRecorded().get(sequence.name));
    });
  }
  if (recording) writeRecorded(recorded);
});

function labWithUplink(): NetnsLab {
  const lab = new NetnsLab();
  lab.veth({ namespace: 'vpp', name: 'up0' }, { namespace: 'outside', name: 'eth0' });
  return lab;
}

/** af_packet looks for its device in VPP's namespace; the stand-in is in this process's. */
function tunDevicesOf(lab: NetnsLab): Devices {
  const devices = new TunDevices();
  const inside = lab.open('vpp');
  return {
    openTap: (device) => devices.openTap(device),
    hasLink: (name) => inside.link(name) !== undefined,
  };
}
