/** What a link in another network namespace sends and receives is heard there, whole, in order and with its time. */
import t from 'tap';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import { PacketFilterError } from '../../src/host/libc.js';
import { type HeardPacket, type ListenTo, listenToPackets } from '../../src/host/packet-socket.js';
import { needs } from '../kit/needs.js';

const reason = canUseNetns();
const is_possible = needs(reason);

/** Until so many packets have come. */
function heard(to: ListenTo, wanted: number) {
  const packets: HeardPacket[] = [];
  let ended = false;
  let wake = (): void => undefined;
  const listener = listenToPackets(
    to,
    (packet) => {
      packets.push(packet);
      wake();
    },
    () => {
      ended = true;
      wake();
    },
  );
  const until = (holds: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      wake = () => holds() && resolve();
      wake();
    });
  return {
    packets,
    listener,
    enough: () => until(() => packets.length >= wanted),
    end: () => until(() => ended),
  };
}

t.test('packets of a link', is_possible(), async (t) => {
  const lab = new NetnsLab();
  t.teardown(() => lab.close());
  lab.veth(
    { namespace: 'a', name: 'a0', addresses: ['10.0.0.1/24'] },
    { namespace: 'b', name: 'b0', addresses: ['10.0.0.2/24'] },
  );
  const namespace = lab.open('b');
  const link = namespace.link('b0')!.index;
  const netns = lab.namespace('b');
  const to: ListenTo = { netns, id: lab.host.identify(netns)!, link, packet_bytes: 64 };
  const icmp = { link_type: 1, expression: 'icmp' };
  const ping = (...more: string[]) => lab.run('a', 'ping', '-c', '2', '-i', '0.01', ...more, '10.0.0.2');

  const began_us = BigInt(Date.now()) * 1000n;
  const { packets, listener, enough } = heard({ ...to, filter: icmp }, 4);
  ping('-s', '1000');
  await enough();
  const ip_at = 14;
  t.strictSame(
    packets.map(({ bytes, original_length }) => [
      Buffer.from(bytes).readUInt32BE(ip_at + 12) & 0xff,
      bytes.length,
      original_length,
    ]),
    [1, 2, 1, 2].map((from) => [from, 64, 1042]),
    'both directions, in order, of each the beginning, and nothing else',
  );
  for (const { at_us } of packets) t.ok(at_us >= began_us && at_us <= BigInt(Date.now() + 1) * 1000n);
  t.equal(listener.missed(), 0);
  listener.close();
  listener.close();

  t.throws(
    () => heard({ ...to, filter: { link_type: 1, expression: 'no such thing' } }, 1),
    PacketFilterError,
  );
  t.throws(
    () => heard({ ...to, id: lab.host.identify(lab.namespace('a'))! }, 1),
    /another network namespace/,
  );
  t.throws(() => heard({ ...to, link: 999 }, 1), { code: 'ENODEV' });

  const gone = heard({ ...to, filter: icmp }, 1);
  t.teardown(() => gone.listener.close());
  namespace.apply({ do: 'delete_link', link });
  await gone.end();
  t.pass('the end of the link is told');
});
