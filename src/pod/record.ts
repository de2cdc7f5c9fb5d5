/**
 * What is kept on disk of one pod interface, and its form in a file: JSON with a version and a checksum over the content,
 * so that a cut or altered file is recognised and never taken for a pod.
 */
import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import { parseJson } from '../json.js';
import type { NamespaceId } from '../linux/network.js';
import { type PodKey, type PodSpec, podKey } from './spec.js';

/**
 * `intended`: written before VPP is touched for an ADD. `done`: everything is programmed. `deleting`: written before VPP is
 * touched for a DEL; the file goes when the last object has gone.
 */
export type PodPhase = 'intended' | 'done' | 'deleting';

/** Ids of the tables that the pod was given, per family. */
export interface PodTables {
  readonly ip4?: number;
  readonly ip6?: number;
  readonly rpf4?: number;
  readonly rpf6?: number;
}

/** The Linux device as it was last given its addresses, routes and MTU. */
export interface GivenDevice {
  /** Its ifindex: another device of that name has another. */
  readonly index: number;
  /** Bytes. */
  readonly mtu: number;
  /** Its checksums were taken from it: see SoftwareChecksums. */
  readonly software_checksums?: true;
}

export interface PodRecord {
  readonly phase: PodPhase;
  readonly spec: PodSpec;
  readonly tables: PodTables;
  /** The namespace that the pod was connected in, whatever stands at its path by now. Absent from what earlier releases wrote. */
  readonly namespace?: NamespaceId;
  /** Absent: Linux has not been given what this spec asks for, or an earlier release did it. */
  readonly device?: GivenDevice;
}

export type DecodedRecord =
  | { readonly ok: PodRecord }
  /** `newer`: by a later version of this product; `foreign`: not a record, or not the one of this file name. */
  | { readonly fault: 'corrupt' | 'foreign' | 'newer'; readonly text: string };

const format = 'calico-vpp-node pod';
/** Raised with every change of PodRecord that older code cannot read; decode then has to read the older ones too. */
const version = 1;

const whole = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max));
const table_id = v.exactOptional(whole(0, 2 ** 32 - 1));
const port = whole(1, 0xffff);
const ring = whole(1, 1 << 15);
const address = v.pipe(
  v.string(),
  v.check((text) => canonicalAddress(text) === text),
);
const prefixes = v.array(
  v.pipe(
    v.string(),
    v.check((text) => text.includes('/') && canonicalPrefix(text) === text),
  ),
);
const addresses = (colon: boolean) =>
  v.array(
    v.pipe(
      address,
      v.check((text) => text.includes(':') === colon),
    ),
  );

const memif = v.object({
  is_l3: v.boolean(),
  ports: v.array(v.object({ protocol: v.picklist(['tcp', 'udp']), first: port, last: port })),
  alone: v.exactOptional(v.literal(true)),
});

/** In a file the cookie stands beside the rest, for releases that know of none and would take the record for a damaged one. */
interface Written extends PodRecord {
  readonly namespace_cookie?: string;
}

const pod_record: v.GenericSchema<unknown, Written> = v.object({
  phase: v.picklist(['intended', 'done', 'deleting']),
  spec: v.object({
    key: v.string(),
    interface_name: v.string(),
    netns: v.string(),
    workload: v.object({
      orchestrator: v.string(),
      namespace: v.string(),
      pod: v.string(),
      endpoint: v.string(),
    }),
    addresses: v.object({ ip4: addresses(false), ip6: addresses(true) }),
    routes: prefixes,
    mtu: whole(0, 0xffff),
    allow_ip_forwarding: v.boolean(),
    host_ports: v.array(
      v.object({
        protocol: v.picklist(['tcp', 'udp', 'sctp']),
        host_port: port,
        container_port: port,
        host_ip: v.exactOptional(address),
      }),
    ),
    allowed_source_prefixes: prefixes,
    network_name: v.string(),
    interface_spec: v.object({
      rx_queues: whole(1, 256),
      tx_queues: whole(1, 256),
      rx_ring_size: ring,
      tx_ring_size: ring,
      is_l3: v.boolean(),
      rx_mode: v.picklist(['polling', 'interrupt', 'adaptive', 'default']),
    }),
    interface_type: v.picklist(['tun', 'tap']),
    memif: v.exactOptional(memif),
    vcl: v.exactOptional(v.literal(true)),
  }),
  tables: v.object({ ip4: table_id, ip6: table_id, rpf4: table_id, rpf6: table_id }),
  namespace: v.exactOptional(v.pipe(v.string(), v.regex(/^\d{1,20}:\d{1,20}(:\d{1,20})?$/))),
  namespace_cookie: v.exactOptional(v.pipe(v.string(), v.regex(/^\d{1,20}$/))),
  device: v.exactOptional(
    v.object({
      index: whole(1, 2 ** 31 - 1),
      mtu: whole(1, 0xffff),
      software_checksums: v.exactOptional(v.literal(true)),
    }),
  ),
});

/** What every release writes, whatever else it does. */
const origin = v.object({ format: v.literal(format), version: v.union([v.number(), v.string()]) });
const envelope = v.object({
  format: v.literal(format),
  version: v.literal(version),
  sha256: v.string(),
  pod: v.unknown(),
});

/** The file that a pod's record is in: keys hold slashes and are long. */
export function recordFileName(key: PodKey): string {
  return `${createHash('sha256').update(key).digest('hex').slice(0, 32)}.json`;
}

/** Over the JSON of version and content, which parsing and writing again reproduces. */
function checksum(of_version: number, pod: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify([of_version, pod]))
    .digest('hex');
}

export function encodeRecord(record: PodRecord): string {
  const pod = written(record);
  return `${JSON.stringify({ format, version, sha256: checksum(version, pod), pod })}\n`;
}

function written(record: PodRecord): Written {
  const [dev, ino, namespace_cookie] = record.namespace?.split(':') ?? [];
  return namespace_cookie === undefined
    ? record
    : { ...record, namespace: `${dev}:${ino}`, namespace_cookie };
}

function asRead({ namespace_cookie, ...record }: Written): PodRecord {
  const { namespace } = record;
  if (namespace === undefined || namespace_cookie === undefined) return record;
  // That of a release which left it within is whole.
  return namespace.split(':').length > 2
    ? record
    : { ...record, namespace: `${namespace}:${namespace_cookie}` };
}

/** Reads the content of the file called `file_name`. Never throws. */
export function decodeRecord(text: string, file_name: string): DecodedRecord {
  let json: unknown;
  try {
    json = parseJson(text);
  } catch {
    return { fault: 'corrupt', text: 'is cut or damaged' };
  }
  const known = v.safeParse(origin, json);
  if (known.success && known.output.version !== version) {
    const text = `has version ${known.output.version}, this program knows ${version}: it was written by a later release`;
    return { fault: 'newer', text };
  }
  const read = v.safeParse(envelope, json);
  if (!read.success) return { fault: 'foreign', text: 'is not a pod record' };
  const { version: found, sha256, pod } = read.output;
  if (checksum(found, pod) !== sha256) return { fault: 'corrupt', text: 'does not match its checksum' };
  const record = v.safeParse(pod_record, pod);
  if (!record.success)
    return { fault: 'corrupt', text: `lacks what a pod record has: ${v.summarize(record.issues)}` };
  const { key, netns, interface_name } = record.output.spec;
  if (key !== podKey(netns, interface_name) || recordFileName(key) !== file_name) {
    return { fault: 'foreign', text: `is the record of ${key}, which belongs into ${recordFileName(key)}` };
  }
  return { ok: asRead(record.output) };
}
