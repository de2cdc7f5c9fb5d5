/** A tar archive (ustar) of texts, as bytes. Pure. */
const block = 512;

function field(header: Buffer, text: string, at: number, length: number): void {
  header.write(text.slice(0, length), at, length, 'latin1');
}

/** `mtime_s`: of all files, in seconds since 1970. Names: ASCII, at most 100 characters. */
export function tarOf(files: ReadonlyMap<string, Buffer>, mtime_s: number): Buffer {
  const parts: Buffer[] = [];
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  for (const [name, content] of files) {
    const header = Buffer.alloc(block);
    field(header, name, 0, 100);
    field(header, octal(0o600, 7), 100, 8);
    field(header, octal(0, 7), 108, 8);
    field(header, octal(0, 7), 116, 8);
    field(header, octal(content.length, 11), 124, 12);
    field(header, octal(mtime_s, 11), 136, 12);
    field(header, '        ', 148, 8);
    field(header, '0', 156, 1);
    field(header, 'ustar\x0000', 257, 8);
    const sum = header.reduce((all, byte) => all + byte, 0);
    field(header, `${sum.toString(8).padStart(6, '0')}\0 `, 148, 8);
    parts.push(header, content, Buffer.alloc((block - (content.length % block)) % block));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * block)]);
}
