/**
 * The stand-in API server as a process of its own, in a namespace of a lab; told what to hold over its IPC channel.
 *
 *     node server-agent.js <address> <port>
 */
import { calicoCrds } from './calico-crds.js';
import { StandInApiServer } from './server.js';
import { type Json, metadataOf, type Resource } from './store.js';

export type ServerRequest =
  | { readonly do: 'put'; readonly objects: readonly Json[] }
  | { readonly do: 'remove'; readonly objects: readonly Json[] }
  /** What clients have made of it by now. */
  | { readonly do: 'get'; readonly resource: Pick<Resource, 'group' | 'plural'>; readonly name: string }
  /** Cuts all connections and takes no others, or takes them again. */
  | { readonly do: 'serve'; readonly on: boolean };

const [address = '', port = ''] = process.argv.slice(2);
const server = new StandInApiServer({ address, port: Number(port) });
await server.start();
for (const definition of calicoCrds('crd.projectcalico.org/v1')) server.put(definition);

async function handle(request: ServerRequest): Promise<unknown> {
  switch (request.do) {
    case 'put':
      for (const object of request.objects) server.put(object);
      return undefined;
    case 'remove':
      for (const object of request.objects) server.remove(object);
      return undefined;
    case 'get':
      return server.store
        .list(`${request.resource.group}/${request.resource.plural}`)
        .find((object) => metadataOf(object).name === request.name);
    case 'serve':
      return request.on ? server.start() : server.stop();
  }
}

process.on('message', ({ id, request }: { id: number; request: ServerRequest }) => {
  handle(request).then(
    (answer) => process.send?.({ id, answer }),
    (error: Error) => process.send?.({ id, error: error.message }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ id: 0 });
