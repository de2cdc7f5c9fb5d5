import t from 'tap';
import { ServiceNames } from '../../src/services/service-names.js';
import { TranslationIds } from '../../src/vpp-conn/translation-ids.js';

function world() {
  const names = new ServiceNames();
  const ids = new TranslationIds();
  const holders = new Map<string, string>();
  names.by((vip) => holders.get(vip));
  const put = (id: number, vip: string, service: string): void => {
    ids.set(id, vip);
    holders.set(vip, service);
  };
  return { names, ids, holders, put };
}

t.test('before there is a VPP nobody is named', async (t) => {
  t.equal(world().names.since(0), undefined);
});

t.test('the first who asks is told all, then what has changed', async (t) => {
  const { names, ids, holders, put } = world();
  put(0, 'tcp/10.96.0.1/80', 'shop/web');
  put(1, 'tcp/10.96.0.1/443', 'shop/web');
  put(2, 'udp/10.96.0.2/53', 'kube-system/dns');
  ids.set(3, 'tcp/10.0.0.2/8080');
  names.opened(7, ids);
  const first = names.since(0);
  t.strictSame(first, {
    pid: 7,
    version: 1,
    whole: false,
    named: [
      ['shop/web', '0 1'],
      ['kube-system/dns', '2'],
    ],
    unnamed: [],
  });
  t.match(names.since(1), { version: 2, whole: false, named: [], unnamed: [] });

  ids.delete(1, 'tcp/10.96.0.1/443');
  holders.set('udp/10.96.0.2/53', 'other/dns');
  t.match(names.since(2), { whole: false, named: [['other/dns', '2']], unnamed: [1] }, 'a holder changes');
  put(1, 'tcp/10.96.0.9/80', 'shop/new');
  holders.delete('udp/10.96.0.2/53');
  t.match(names.since(3), { named: [['shop/new', '1']], unnamed: [2] }, 'and is none in the end');
});

t.test('who has not heard the last answer is told all', async (t) => {
  const { names, ids, put } = world();
  put(0, 'tcp/10.96.0.1/80', 'shop/web');
  names.opened(7, ids);
  names.since(0);
  t.match(names.since(0), { whole: true, named: [['shop/web', '0']] });
});

t.test('of another VPP the ids are others', async (t) => {
  const { names, ids, put } = world();
  put(0, 'tcp/10.96.0.1/80', 'shop/web');
  put(1, 'tcp/10.96.0.2/80', 'shop/api');
  names.opened(7, ids);
  names.since(0);
  const other = new TranslationIds();
  other.set(0, 'tcp/10.96.0.2/80');
  names.opened(8, other);
  t.match(names.since(1), { pid: 8, whole: false, named: [['shop/api', '0']], unnamed: [1] });
});

t.test('an id that VPP cannot have is none', async (t) => {
  const { names, ids, put } = world();
  put(2 ** 32 - 1, 'tcp/10.96.0.1/80', 'shop/web');
  put(2, 'tcp/10.96.0.2/80', 'shop/api');
  names.opened(7, ids);
  t.match(names.since(0), { named: [['shop/api', '2']] });
  t.equal(ids.vips.length, 3);
});

t.test('an id that is another’s by now is not taken from it', async (t) => {
  const ids = new TranslationIds();
  ids.set(0, 'tcp/10.96.0.1/80');
  ids.set(0, 'tcp/10.96.0.2/80');
  ids.delete(0, 'tcp/10.96.0.1/80');
  t.equal(ids.vips[0], 'tcp/10.96.0.2/80');
  ids.delete(0, 'tcp/10.96.0.2/80');
  t.equal(ids.vips[0], undefined);
});
