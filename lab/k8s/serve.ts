/**
 * The stand-in API server as a program: at the address and port of its arguments, with TLS where a directory is given, into which it writes what a pod has
 * of its service account; with what it is told line by line. Each line is one JSON document of
 * a RemoteWord, and is answered by one.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/clock.js';
import { calicoCrds, network_crds } from './calico-crds.js';
import { selfSigned } from './certificate.js';
import type { Fault } from './faults.js';
import { StandInApiServer } from './server.js';
import type { Json } from './store.js';

export type RemoteWord =
  | { readonly do: 'put' | 'remove'; readonly object: Json }
  | { readonly do: 'fault'; readonly fault: Fault }
  | { readonly do: 'mend' | 'cut' | 'compact' | 'ready' }
  /** Takes no connections, and has none; or does again. */
  | { readonly do: 'stop' | 'start' }
  /** Answered with the object, or null. */
  | { readonly do: 'get'; readonly bucket: string; readonly key: string }
  /** Answered with verbs and paths of the last thousand requests. */
  | { readonly do: 'requests' };

const [address = '127.0.0.1', port = '0', account] = process.argv.slice(2);
const tls = account === undefined ? undefined : selfSigned(address);
if (account !== undefined && tls !== undefined) {
  writeFileSync(join(account, 'ca.crt'), tls.cert);
  writeFileSync(join(account, 'token'), 'lab');
}
const server = new StandInApiServer({ clock: systemClock, address, port: Number(port), ...(tls && { tls }) });
for (const definition of [...calicoCrds('crd.projectcalico.org/v1'), ...network_crds]) server.put(definition);
await server.start();

async function answer(word: RemoteWord): Promise<unknown> {
  switch (word.do) {
    case 'put':
      return server.put(word.object);
    case 'remove':
      return server.remove(word.object);
    case 'fault':
      return server.fault(word.fault);
    case 'mend':
      return server.faults.clear();
    case 'cut':
      return server.cut();
    case 'compact':
      return server.store.compact();
    case 'get':
      return server.store.get(word.bucket, word.key);
    case 'requests':
      return server.requests.map(({ verb, path }) => `${verb} ${path}`);
    case 'stop':
      return server.stop();
    case 'start':
      return server.start();
    case 'ready':
      return server.url;
  }
}

/** Answers go out in the order of the words. */
let said: Promise<unknown> = Promise.resolve();

createInterface({ input: process.stdin }).on('line', (line) => {
  said = said.then(async () => {
    process.stdout.write(`${JSON.stringify((await answer(JSON.parse(line) as RemoteWord)) ?? null)}\n`);
  });
});
// Who has started it is gone.
process.stdin.on('end', () => process.exit());
