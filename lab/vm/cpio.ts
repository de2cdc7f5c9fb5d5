/** The archive that Linux unpacks before anything else: "newc", as in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. */

export interface ArchiveEntry {
  /** Without a leading slash; its directory comes before it. */
  readonly path: string;
  /** Type and permissions, as st_mode. */
  readonly mode: number;
  readonly content: string | Buffer;
}

export function cpioArchive(entries: readonly ArchiveEntry[]): Buffer {
  const all = [...entries, { path: 'TRAILER!!!', mode: 0, content: '' }];
  return Buffer.concat(
    all.flatMap(({ path, mode, content }, index) => {
      const data = Buffer.from(content);
      const name = Buffer.from(`${path}\0`);
      const [inode, links, none] = [index + 1, 1, 0];
      const fields = [inode, mode, none, none, links, none, data.length, 0, 0, 0, 0, name.length, none];
      const header = Buffer.from(
        `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`,
      );
      return [aligned(Buffer.concat([header, name])), aligned(data)];
    }),
  );
}

/** Header with name, and data, each end at a multiple of four. */
function aligned(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
