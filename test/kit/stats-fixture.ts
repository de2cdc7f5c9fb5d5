/** A stats segment of a real VPP as a file: only the blocks that a reader of all of it touches. */
import { gunzipSync, gzipSync } from 'node:zlib';
import { readHeader, type SegmentSource, SegmentView } from '../../src/stats/segment.js';

const block_bytes = 256;

/** What `look` reads of it, packed. */
export function packSegment(source: SegmentSource, look: (view: SegmentView) => void): Buffer {
  const blocks = new Set<number>();
  const recording: SegmentSource = {
    size: source.size,
    read: (offset, length) => {
      for (let n = Math.floor(offset / block_bytes); n * block_bytes < offset + length; n += 1) blocks.add(n);
      return source.read(offset, length);
    },
  };
  const header = readHeader(recording);
  if (typeof header === 'string') throw new Error(header);
  look(new SegmentView(recording, header));
  const packed = [...blocks]
    .sort((a, b) => a - b)
    .map((n) => {
      const bytes = Buffer.alloc(4 + block_bytes);
      bytes.writeUInt32LE(n, 0);
      source.read(n * block_bytes, Math.min(block_bytes, source.size - n * block_bytes))!.copy(bytes, 4);
      return bytes;
    });
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(source.size));
  return gzipSync(Buffer.concat([size, ...packed]), { level: 9 });
}

/** The segment again, with zeros for what was not read. */
export function unpackSegment(packed: Buffer): SegmentSource {
  const bytes = gunzipSync(packed);
  const size = Number(bytes.readBigUInt64LE(0));
  const blocks = new Map<number, Buffer>();
  for (let at = 8; at < bytes.length; at += 4 + block_bytes)
    blocks.set(bytes.readUInt32LE(at), bytes.subarray(at + 4, at + 4 + block_bytes));
  return {
    size,
    read: (offset, length) => {
      if (offset < 0 || length < 0 || offset + length > size) return undefined;
      const read = Buffer.alloc(length);
      for (let n = Math.floor(offset / block_bytes); n * block_bytes < offset + length; n += 1)
        blocks
          .get(n)
          ?.copy(read, Math.max(0, n * block_bytes - offset), Math.max(0, offset - n * block_bytes));
      return read;
    },
  };
}
