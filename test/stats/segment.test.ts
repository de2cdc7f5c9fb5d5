import t from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import { read_bytes_max, readHeader, type SegmentSource, SegmentView } from '../../src/stats/segment.js';
import { SegmentFile } from '../../src/stats/segment-file.js';
import {
  heartbeat_silent_ms,
  type LiveSegment,
  StatsReader,
  within_ms,
} from '../../src/stats/stats-reader.js';
import { base, node_content, SegmentBuilder, segmentOf, sourceOf, viewOf } from '../kit/stats-segment.js';

const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, v) => (v instanceof Float64Array ? [...v] : v)) ?? 'null');

// A hundred thousand segments take five seconds of an idle core.
t.test('each type is decoded', async (t) => {
  const seen = viewOf(
    segmentOf({
      entries: [
        ['s', { scalar: 5n }],
        ['g', { gauge: 2n ** 40n }],
        ['v', { simple: [[1, 2, 3], [], [4]] }],
        ['c', { combined: [[[1, 2]], []] }],
        ['n', { names: ['eth0', undefined, ''] }],
        ['h', { histogram: [[4, 1, 0, 7]] }],
        ['of v', { symlink: [2, 2] }],
        ['of c', { symlink: [3, 0] }],
        ['slot', { empty: true }],
        ['nothing', { simple: [] }],
      ],
    }),
  );
  t.strictSame([...seen.names.keys()], ['s', 'g', 'v', 'c', 'n', 'h', 'of v', 'of c', 'nothing']);
  const all = Object.fromEntries([...seen.names.keys()].map((name) => [name, plain(seen.value(name))]));
  t.strictSame(all, {
    s: { kind: 'scalar', value: 5 },
    g: { kind: 'gauge', value: 2 ** 40 },
    v: { kind: 'simple', threads: [[1, 2, 3], [], [4]] },
    c: {
      kind: 'combined',
      threads: [
        { packets: [1], bytes: [2] },
        { packets: [], bytes: [] },
      ],
    },
    n: { kind: 'names', names: ['eth0', null, ''] },
    h: { kind: 'histogram', threads: [{ min_exponent: 4, counts: [1, 0, 7] }] },
    'of v': { kind: 'simple', threads: [[3], [], []] },
    'of c': {
      kind: 'combined',
      threads: [
        { packets: [1], bytes: [2] },
        { packets: [], bytes: [] },
      ],
    },
    nothing: { kind: 'simple', threads: [] },
  });
  t.equal(seen.value('not there'), undefined);
  t.equal(seen.scalar('g'), 2 ** 40);
  t.equal(seen.scalar('v'), undefined);
  t.equal(seen.faults.count, 0);
});

t.test('what leads outside costs its own entry, and says so', async (t) => {
  const far = base + 10n ** 9n;
  const builder = new SegmentBuilder();
  const bomb = builder.counters([1]);
  builder.bytes.writeUInt32LE(0xffff_ffff, Number(bomb - base) - 8);
  const hostile_thread = builder.pointers([far]);
  const many_threads = builder.pointers(new Array<bigint>(2000).fill(0n));
  const bad_name = builder.pointers([builder.text('good'), far, base + 5n]);
  const bytes = builder.build({
    entries: [
      ['far', { type: 2, raw: far }],
      ['before', { type: 3, raw: base - 8n }],
      ['in the header', { type: 2, raw: base + 16n }],
      ['all ones', { type: 2, raw: 2n ** 64n - 1n }],
      ['thread', { type: 2, raw: hostile_thread }],
      ['bomb', { type: 2, raw: bomb }],
      ['threads', { type: 2, raw: many_threads }],
      ['names', { type: 4, raw: bad_name }],
      ['unknown', { type: 77, raw: 0n }],
      ['itself', { symlink: [9, 0] }],
      ['round', { symlink: [11, 0] }],
      ['and round', { symlink: [10, 0] }],
      ['beyond', { symlink: [1000, 0] }],
      ['of a scalar', { symlink: [14, 0] }],
      ['good', { scalar: 1 }],
    ],
  });
  const seen = viewOf(bytes);
  for (const name of seen.names.keys())
    if (!['names', 'good'].includes(name)) t.equal(seen.value(name), undefined, name);
  t.strictSame(seen.value('names'), { kind: 'names', names: ['good', undefined, undefined] });
  t.equal(seen.scalar('good'), 1);
  t.equal(seen.faults.count, 15, seen.faults.first.join('\n'));
  t.match(seen.faults.first, [/^far: 0x7f003b9aca00 is outside of the segment$/]);
  t.ok(seen.faults.first.includes('bomb: a vector of 4294967295 elements'), seen.faults.first.join('\n'));
  t.ok(seen.faults.first.includes('itself: leads to a symlink'));
  t.equal(seen.faults.count, 15, 'what was decoded once is not decoded again');
});

t.test('a directory that cannot be read is one without entries', async (t) => {
  const bytes = segmentOf(node_content);
  bytes.writeBigUInt64LE(base + 2n ** 40n, 32);
  const seen = viewOf(bytes);
  t.equal(seen.names.size, 0);
  t.match(seen.faults.first, [/^the directory: /]);
});

t.test('many entries that lead to one large vector cost no more than the limit', async (t) => {
  const builder = new SegmentBuilder(12 * 2 ** 20);
  const large = builder.vector(2 ** 20, 8, () => {});
  const outer = builder.pointers([large]);
  const seen = viewOf(
    builder.build({ entries: Array.from({ length: 50 }, (_, i) => [`e${i}`, { type: 2, raw: outer }]) }),
  );
  const values = [...seen.names.keys()].map((name) => seen.value(name));
  t.equal(values.filter((value) => value !== undefined).length, 7);
  t.ok(seen.read_bytes <= read_bytes_max + 8 * 2 ** 20 * 50);
  t.match(seen.faults.first, [/e7: more than 67108864 bytes in one reading/]);
});

t.test('a header of another version, or none, is no segment', async (t) => {
  const bytes = segmentOf(node_content);
  bytes.writeBigUInt64LE(1n, 0);
  t.match(readHeader(sourceOf(bytes)), /version 1, and 2 is what is understood/);
  t.match(readHeader(sourceOf(bytes.subarray(0, 100))), /no header/);
});

/** xorshift32: the same mutations each time. */
function random(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

t.test('a hundred thousand spoiled segments: nothing is thrown, nothing read outside', async (t) => {
  // One of each type: what there is more of takes time and shows nothing else.
  const wanted = ['/sys/heartbeat', '/if/names', '/if/rx', '/if/drops', '/cnat/sessions/total', 'gone'];
  const good = segmentOf(
    {
      entries: [
        ...node_content.entries.filter(([name]) => wanted.includes(name)),
        ['histogram', { histogram: [[4, 1, 0, 7], [2]] }],
        ['column', { symlink: [2, 1] }],
      ],
    },
    8 * 1024,
  );
  const used = good.length - [...good].reverse().findIndex((byte) => byte !== 0);
  const next = random(20_300_101);
  const interesting = [
    0n,
    1n,
    0xffff_ffffn,
    2n ** 63n,
    2n ** 64n - 1n,
    base,
    base + 4096n,
    base + BigInt(good.length),
  ];
  let outside = 0;
  let decoded = 0;
  let spoiled = 0;
  const began = process.hrtime.bigint();
  for (let round = 0; round < 100_000; round += 1) {
    const bytes = Buffer.from(good);
    for (let n = 1 + Math.floor(next() * 4); n > 0; n -= 1) {
      const at = Math.floor(next() * (used - 8));
      const how = next();
      if (how < 0.4) bytes[at] = Math.floor(next() * 256);
      else if (how < 0.7) bytes.writeUInt32LE(Math.floor(next() * 2 ** 32), at & ~3);
      else {
        const far = interesting[Math.floor(next() * interesting.length)]!;
        bytes.writeBigUInt64LE(next() < 0.5 ? far : base + BigInt(Math.floor(next() * used)), at & ~7);
      }
    }
    const source: SegmentSource = {
      size: bytes.length,
      read: (offset, length) => {
        if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length)) outside += 1;
        return bytes.subarray(offset, offset + length);
      },
    };
    const header = readHeader(source);
    if (typeof header === 'string') continue;
    const seen = new SegmentView(source, header);
    for (const name of seen.names.keys()) if (seen.value(name) !== undefined) decoded += 1;
    if (seen.faults.count > 0) spoiled += 1;
  }
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  t.equal(outside, 0);
  t.ok(decoded > 300_000, `${decoded} decoded`);
  t.ok(spoiled > 10_000, `${spoiled} with faults`);
  t.comment(`${seconds.toFixed(1)} s`);
});

/** A segment in memory whose VPP may die, and which may change with each reading of its header. */
class Held implements LiveSegment {
  isLive = true;
  closed = 0;
  headers = 0;
  onHeader = (_nth: number): void => undefined;

  constructor(
    readonly pid: number,
    readonly bytes: Buffer,
  ) {}

  get size(): number {
    return this.bytes.length;
  }

  read = (offset: number, length: number): Buffer | undefined => {
    if (offset === 0) {
      this.headers += 1;
      this.onHeader(this.headers);
    }
    return sourceOf(this.bytes).read(offset, length);
  };

  close(): void {
    this.closed += 1;
  }
}

function reading() {
  const clock = new TurnedClock();
  const segments = new Map<number, Held>();
  const opened: number[] = [];
  const reader = new StatsReader({
    clock,
    open: (pid) => {
      const segment = segments.get(pid);
      if (segment === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      opened.push(pid);
      return segment;
    },
  });
  const start = (pid: number): Held => {
    const held = new Held(pid, segmentOf(node_content));
    segments.set(pid, held);
    return held;
  };
  return { clock, segments, opened, reader, start };
}

const sessions = (seen: SegmentView) => seen.scalar('/cnat/sessions/total');

t.test('a reading', async (t) => {
  await t.test('is that of one epoch, and knows the names of it from then on', async (t) => {
    const { reader, start, opened } = reading();
    const held = start(100);
    t.match(await reader.read(100, sessions), { ok: true, value: 42, epoch: 7, faults: { count: 0 } });
    const indexes: unknown[] = [];
    for (let i = 0; i < 2; i += 1) await reader.read(100, (seen) => indexes.push(seen.names));
    t.equal(indexes[0], indexes[1]);
    held.bytes.writeBigUInt64LE(8n, 16);
    await reader.read(100, (seen) => indexes.push(seen.names));
    t.not(indexes[2], indexes[1]);
    t.strictSame(opened, [100]);
    t.equal(reader.retries, 0);
  });

  await t.test('that a change has spoiled is done again', async (t) => {
    const { reader, start } = reading();
    const held = start(100);
    held.onHeader = (nth) => {
      if (nth === 2) held.bytes.writeBigUInt64LE(8n, 16);
    };
    t.match(await reader.read(100, sessions), { ok: true, value: 42, epoch: 8 });
    t.equal(reader.retries, 1);
  });

  await t.test('is given up after five that were spoiled', async (t) => {
    const { reader, start } = reading();
    const held = start(100);
    held.onHeader = (nth) => void held.bytes.writeBigUInt64LE(BigInt(nth), 16);
    t.match(await reader.read(100, sessions), { ok: false, reason: /during 5 readings/ });
    t.equal(held.headers, 10);
  });

  await t.test('waits while VPP changes the structure, for a second at most', async (t) => {
    const { reader, start, clock } = reading();
    const held = start(100);
    held.bytes.writeBigUInt64LE(1n, 24);
    const stuck = reader.read(100, sessions);
    await clock.advance(within_ms);
    t.match(await stuck, { ok: false, reason: /for 1000 ms/ });
    const patient = reader.read(100, sessions);
    await clock.advance(20);
    held.bytes.writeBigUInt64LE(0n, 24);
    await clock.advance(2);
    t.match(await patient, { ok: true, value: 42 });
    t.equal(clock.pending, 0);
  });

  await t.test('of a dead VPP is none, however well what it left could be read', async (t) => {
    const { reader, start, segments, opened } = reading();
    const held = start(100);
    t.match(await reader.read(100, sessions), { ok: true });
    held.isLive = false;
    segments.delete(100);
    t.match(await reader.read(100, sessions), { ok: false, reason: 'VPP 100 is dead' });
    t.equal(held.closed, 1);
    start(101);
    t.match(await reader.read(101, sessions), { ok: true });
    t.strictSame(opened, [100, 101]);
    t.match(await reader.read(0, sessions), { ok: false, reason: 'VPP does not run' });
  });

  await t.test('during which VPP dies is none', async (t) => {
    const { reader, start } = reading();
    const held = start(100);
    held.onHeader = (nth) => {
      if (nth === 2) held.isLive = false;
    };
    t.match(await reader.read(100, sessions), { ok: false, reason: 'VPP 100 is dead' });
  });

  await t.test('of a VPP whose main thread does nothing is none, until it goes on', async (t) => {
    const { reader, start, clock } = reading();
    const held = start(100);
    t.match(await reader.read(100, sessions), { ok: true });
    await clock.advance(heartbeat_silent_ms);
    t.match(await reader.read(100, sessions), { ok: true });
    await clock.advance(1);
    t.match(await reader.read(100, sessions), { ok: false, reason: /heartbeat up for 30 s/ });
    const seen = viewOf(held.bytes);
    const at = held.bytes.indexOf('/sys/heartbeat') - 16;
    held.bytes.writeBigUInt64LE(13n, at + 8);
    t.match(await reader.read(100, sessions), { ok: true });
    t.equal(seen.scalar('/sys/heartbeat'), 12);
  });
});

t.test('no process, or one without a segment, is an answer', async (t) => {
  t.throws(() => SegmentFile.open(process.pid), /has no stats segment/);
  const reader = new StatsReader({ clock: new TurnedClock(), open: (pid) => SegmentFile.open(pid) });
  t.match(await reader.read(2 ** 22 + 1, sessions), { ok: false, reason: /is dead/ });
});
