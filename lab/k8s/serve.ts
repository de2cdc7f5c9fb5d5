/**
 * The stand-in API server as a program: at the address and port of its arguments, with what it is told line by line. Each line is one JSON document of
 * a RemoteWord, and is answered by one.
 */
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/clock.js';
import { calicoCrds } from './calico-crds.js';
import type { Fault } from './faults.js';
import { StandInApiServer } from './server.js';
import type { Json } from './store.js';

export type RemoteWord =
  | { readonly do: 'put' | 'remove'; readonly object: Json }
  | { readonly do: 'fault'; readonly fault: Fault }
  | { readonly do: 'mend' | 'cut' | 'compact' | 'ready' }
  /** Answered with the object, or null. */
  | { readonly do: 'get'; readonly bucket: string; readonly key: string }
  /** Answered with verbs and paths of the last thousand requests. */
  | { readonly do: 'requests' };

const [address = '127.0.0.1', port = '0'] = process.argv.slice(2);
const server = new StandInApiServer({ clock: systemClock, address, port: Number(port) });
for (const definition of calicoCrds('crd.projectcalico.org/v1')) server.put(definition);
await server.start();

function answer(word: RemoteWord): unknown {
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
    case 'ready':
      return server.url;
  }
}

createInterface({ input: process.stdin }).on('line', (line) => {
  process.stdout.write(`${JSON.stringify(answer(JSON.parse(line) as RemoteWord) ?? null)}\n`);
});
// Who has started it is gone.
process.stdin.on('end', () => process.exit());
