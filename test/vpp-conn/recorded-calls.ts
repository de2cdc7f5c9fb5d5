/** What an executor sends, one line per message: its name and the fields that say anything. */
import { memoryFile } from '../../lab/memory-file.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { Operation } from '../../src/reconcile/operation.js';
import { Executor } from '../../src/vpp-conn/execute.js';
import { Handles } from '../../src/vpp-conn/handles.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';
import { Registry } from '../../src/vpp-conn/registry.js';
import { asking } from './executor-lab.js';

const says_nothing: ReadonlySet<unknown> = new Set([
  ...[false, 0, '', 0xffffffff, '0.0.0.0', '::', '00:00:00:00:00:00'],
  ...['FIB_API_PATH_TYPE_NORMAL', 'FIB_API_PATH_NH_PROTO_IP4', 'ADDRESS_IP4'],
]);
/** Set by every sender to the same value. */
const constant = new Set(['weight', 'is_real_ip', 'host_namespace_set', 'host_if_name_set', 'host_mtu_set']);

function leaves(name: string, value: unknown): string[] {
  if (constant.has(name) || says_nothing.has(value)) return [];
  if (value === true) return [name];
  if (value instanceof Uint8Array) return [`${name}=${shortHex(value)}`];
  if (Array.isArray(value)) return value.flatMap((item) => leaves(name, item));
  if (typeof value !== 'object' || value === null) return [`${name}=${`${value}`.replace('\0', '<NUL>')}`];
  return Object.entries(value).flatMap(([key, inner]) => leaves(key, inner));
}

/** Bytes in hex, runs of eight zeros and more as `..`. */
function shortHex(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/(00){8,}/g, '..');
}

/** Handles of a session that knows its FIB sources: that of the node is 20, of the pods 21. */
export function knownHandles(): Handles {
  const handles = new Handles();
  handles.setFibSource('node', 20);
  handles.setFibSource('pods', 21);
  return handles;
}

/**
 * Sends the operations to a VPP that says yes to everything and gives interfaces and ids the numbers 1, 2, ...; `|` where
 * all that was sent before is answered.
 */
export async function callsOf(operations: readonly Operation[], handles = knownHandles()): Promise<string[]> {
  const lines: string[] = [];
  let unanswered = 0;
  let last = 0;
  const request = async ({ name }: { readonly name: string }, fields: object) => {
    if (unanswered === 0 && lines.length > 0) lines.push('|');
    unanswered += 1;
    lines.push([name, ...leaves('', fields)].join(' '));
    const makes = /create|classify_add_del_table|translation_update|add_tunnel|add_del_tunnel/.test(name);
    if (makes) last += 1;
    const made = last;
    await new Promise((resolve) => setImmediate(resolve));
    unanswered -= 1;
    return { retval: 0, ...(makes && { sw_if_index: made, id: made, new_table_index: made }) };
  };
  const vpp = asking(request);
  const executor = new Executor({
    connections: { prompt: vpp, bulk: vpp },
    handles,
    registry: new Registry(memoryFile(), 'vpp'),
    quarantine: new Quarantine(memoryFile(), () => undefined),
    clock: new TurnedClock(),
  });
  await executor.run(
    { generation: 1, owner: 'test', operations, on_error: 'continue', urgency: 'prompt' },
    () => false,
  );
  return lines;
}
