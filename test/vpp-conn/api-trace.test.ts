import t from 'tap';
import { type Client, RetvalError } from 'vpp-binapi-ts';
import { Secret } from '../../src/config/secret.js';
import type { VppObject } from '../../src/objects/object.js';
import { openApiTrace } from '../../src/vpp-conn/api-trace.js';
import { Handles } from '../../src/vpp-conn/handles.js';
import { programAdd } from '../../src/vpp-conn/program.js';

const wireguard: VppObject = {
  kind: 'wireguard_interface',
  tag: 'wireguard',
  src: '10.0.0.1',
  port: 51_820,
  public_key: Buffer.alloc(32, 1).toString('base64'),
  private_key: new Secret(Buffer.alloc(32, 2).toString('base64')),
};

const profile: VppObject = {
  kind: 'ike_profile',
  name: 'node-10.0.0.2',
  interface: 'ipip-10.0.0.2',
  src: '10.0.0.1',
  dst: '10.0.0.2',
  psk: new Secret('hunter2'),
};

/** What is sent for the object to a VPP that answers this to `api trace status`; undefined: it has no plugin. */
async function sent(
  status: string | Error | undefined,
  object: VppObject = wireguard,
): Promise<readonly string[]> {
  const handles = new Handles();
  handles.made({ kind: 'ipip_tunnel', tag: 'ipip-10.0.0.2', src: '10.0.0.1', dst: '10.0.0.2' }, 5);
  const vpp = {
    compatible: () => ({ compatible: status !== undefined }),
    request: async () => {
      if (typeof status !== 'string') throw status;
      return { reply: status };
    },
  } as unknown as Pick<Client, 'request' | 'compatible'>;
  await openApiTrace(vpp, handles);
  return programAdd(object, handles).map(({ message, fields }) => {
    const { cmd } = fields as { readonly cmd?: string };
    return cmd ?? message.name;
  });
}

t.test('a private key is sent unrecorded, and recording is as it was found', async (t) => {
  const create = 'wireguard_interface_create';
  const rows: readonly (readonly [string | Error | undefined, readonly string[]])[] = [
    [
      'RX trace: used 17 of 8192 items, is enabled, has not wrapped\n',
      ['api trace off', create, 'api trace on nitems 8192'],
    ],
    [
      'RX trace: used 100 of 100 items, is enabled, has wrapped\n',
      ['api trace off', create, 'api trace on nitems 100'],
    ],
    ['RX trace: used 5 of 100 items, is not enabled, has not wrapped\n', ['api trace off', create]],
    ['RX trace: not yet configured.\n', ['api trace off', create]],
    ['what a later release says', ['api trace off', create, 'api trace on nitems 8192']],
    [new RetvalError('cli_inband', -1, undefined), ['api trace off', create, 'api trace on nitems 8192']],
    [undefined, [create]],
  ];
  for (const [status, calls] of rows) t.strictSame(await sent(status), calls, `${status}`);
  await t.rejects(sent(new Error('the connection has ended')));
});

t.test('nor is the key of IPsec recorded, and nothing but it is left out', async (t) => {
  const status = 'RX trace: used 17 of 8192 items, is enabled, has not wrapped\n';
  const calls = await sent(status, profile);
  t.equal(calls[0], 'ikev2_profile_add_del');
  t.strictSame(calls.slice(-3), ['api trace off', 'ikev2_profile_set_auth', 'api trace on nitems 8192']);
  t.equal(calls.filter((name) => name.startsWith('api trace')).length, 2);
});
