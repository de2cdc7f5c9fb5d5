/** Prints what the program has from npm when it runs, as SPDX: npm's own list, without what differs from one run to the next. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';

interface Spdx {
  documentNamespace: string;
  readonly creationInfo: { created: string };
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const options = ['--omit=dev', '--package-lock-only', '--sbom-format=spdx', '--sbom-type=application'];
const text = execFileSync('npm', ['sbom', ...options], { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26 });
const document = JSON.parse(text) as Spdx;
document.creationInfo.created = new Date(Number(process.env.SOURCE_DATE_EPOCH ?? 0) * 1000).toISOString();
// npm ends it with a random number; SPDX wants one that no other document has.
const start = document.documentNamespace.replace(/-[^-]*-[^-]*-[^-]*-[^-]*-[^-]*$/, '');
document.documentNamespace = start;
const hash = createHash('sha256').update(JSON.stringify(document)).digest('hex');
document.documentNamespace = `${start}-${hash}`;
process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
