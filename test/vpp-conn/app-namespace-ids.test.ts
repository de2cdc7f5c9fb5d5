import t from 'tap';
import {
  AppNamespaceTries,
  appNamespaceId,
  appNamespaceNumber,
} from '../../src/vpp-conn/app-namespace-ids.js';
import { appNamespacesIn } from '../../src/vpp-conn/observe/vcl.js';

const tag = `vcl-Gk3u8hQz-eth0-${'cni-0f3a7c52-8b1e-4d7a-9c60-2f5d1e8b7a94'.repeat(2)}`.slice(0, 63);

t.test('no name is tried twice that VPP has failed at, and none is longer than its field', async (t) => {
  const tries = new AppNamespaceTries();
  t.equal(tries.next(tag), 1);
  tries.made(tag, 1);
  t.equal(tries.next(tag), 1, 'one that was made, and has gone, is used again');
  t.equal(tries.next(tag), 2, 'one without an answer is not');
  tries.made(tag, 2);
  t.equal(tries.next(tag), 2);
  const fresh = new AppNamespaceTries();
  fresh.failed(appNamespaceId(tag, 7));
  t.equal(fresh.next(tag), 8, 'nor is one that VPP shows half of');
  t.throws(
    () => fresh.next(tag),
    /has failed 8 times at a socket for .*not tried again before VPP begins anew/,
  );
  t.equal(fresh.next('vcl-other'), 1, 'others are not concerned');
  t.equal(appNamespaceId(tag, 9999).length <= 63, true);
  t.equal(appNamespaceNumber(appNamespaceId(tag, 12)), 12);
  t.equal(appNamespaceNumber('default'), undefined);
});

t.test('what VPP shows of application namespaces, with its colours', async (t) => {
  const shown =
    '\x1b[33mIndex\x1b[0m \x1b[33mSecret\x1b[0m \x1b[33mInterface           \x1b[0m \x1b[33mId  \x1b[0m \x1b[33mSocket\x1b[0m\n' +
    '0    \x1b[0m 0     \x1b[0m DELETED (4294967295)\x1b[0m default               \x1b[0m /run/app_ns_sockets/default\x1b[0m\n' +
    '1    \x1b[0m 0     \x1b[0m loop1               \x1b[0m vcl-I4O5bz1d-eth0-p1-1\x1b[0m abstract:vpp/session,netns_name=/run/netns/p1\x1b[0m\n';
  t.strictSame(appNamespacesIn(shown), [
    {
      interface: 'loop1',
      id: 'vcl-I4O5bz1d-eth0-p1-1',
      socket: 'abstract:vpp/session,netns_name=/run/netns/p1',
    },
  ]);
  t.strictSame(appNamespacesIn('session layer is not enabled\n'), []);
});
