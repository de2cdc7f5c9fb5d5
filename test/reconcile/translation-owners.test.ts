import t from 'tap';
import { TranslationOwners } from '../../src/reconcile/translation-owners.js';

const pod = { by: 'pods', id: 'one', name: 'pod a/b' } as const;
const service = { by: 'services', id: '', name: 'Service a/b' } as const;
const port = 'translation:tcp/10.0.0.1/80';

t.test('the first has it until it lets it go, and then the others are told', async (t) => {
  const owners = new TranslationOwners();
  let told = 0;
  owners.hear('services', () => {
    told += 1;
  });
  t.equal(owners.claim(pod, port), undefined);
  t.equal(owners.claim(service, port), pod, 'the other is told who has it');
  t.equal(owners.claim({ ...pod, id: 'two' }, port), pod);
  owners.releaseOne({ by: 'services', id: '' }, port);
  t.equal(owners.of(port), pod, 'nobody lets go what is not his');
  t.equal(told, 0);
  owners.releaseOne(pod, port);
  t.equal(told, 1);
  t.equal(owners.claim(service, port), undefined);
  t.equal(owners.claim({ ...service, name: 'Service c/d' }, port), undefined, 'the same owner');
  t.equal(owners.of(port)?.name, 'Service c/d', 'by its present name');
  owners.releaseOne(service, port);
  t.equal(told, 1, 'not of its own');
});

t.test('what is nobody’s is known when all have spoken, in each life of theirs', async (t) => {
  const owners = new TranslationOwners(['pods', 'services']);
  let told = 0;
  owners.hear('services', () => {
    told += 1;
  });
  owners.claim(pod, port);
  owners.hasSpoken('pods');
  t.equal(told, 1, 'who waits for it is told');
  owners.hasSpoken('pods');
  t.equal(told, 1);
  t.notOk(owners.isComplete);
  owners.hasSpoken('services');
  t.ok(owners.isComplete);
  owners.forget('pods');
  t.notOk(owners.isComplete, 'a new life may have others');
  t.equal(owners.of(port), undefined);
  owners.hasSpoken('pods');
  t.ok(owners.isComplete);
});

t.test('who is not asked keeps nobody waiting', async (t) => {
  const owners = new TranslationOwners(['services']);
  owners.forget('pods');
  owners.hasSpoken('services');
  t.ok(owners.isComplete);
});

t.test('who watches hears of what comes and goes, and of nobody else’s', async (t) => {
  const owners = new TranslationOwners();
  const seen: string[] = [];
  owners.watch('pods', () => seen.push(owners.keysOf('pods')?.join() ?? 'not known'));
  const other = 'translation:tcp/10.0.0.1/81';
  owners.claim(pod, port);
  owners.claim(pod, port);
  owners.areWhole('pods');
  owners.claim({ ...pod, id: 'two' }, other);
  owners.claim(service, 'translation:tcp/10.0.0.1/82');
  owners.releaseOne(pod, port);
  owners.release({ by: 'pods', id: 'two' });
  t.strictSame(seen.splice(0), ['not known', port, `${port},${other}`, other, '']);
  owners.claim(pod, port);
  owners.forget('pods');
  t.strictSame(seen, [port, 'not known'], 'another life claims what it finds, which takes its time');
});
