import { readFileSync } from 'node:fs';

/** Three levels above the compiled file: the directory of the package. */
const manifest = new URL('../../../package.json', import.meta.url);

function version(): string {
  try {
    return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
  } catch {
    return 'unknown';
  }
}

/** Versions of this product and of what it runs on. */
export const build = { version: version(), node: process.versions.node, v8: process.versions.v8 } as const;
