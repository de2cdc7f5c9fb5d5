import t from 'tap';
import { memoryFile } from '../../lab/memory-file.js';
import { Quarantine, type QuarantineFile } from '../../src/vpp-conn/quarantine.js';

const subject = (name: string, content = 'asks') => ({ name, content, answered: false });
const kept = (file: QuarantineFile = memoryFile()) => new Quarantine(file, () => undefined);

t.test('one death makes a suspect, a second one of the same content convicts', async (t) => {
  const quarantine = kept();
  t.ok(quarantine.empty);
  t.equal(quarantine.judge(subject('pod')), 'innocent');
  quarantine.accuse([subject('pod')]);
  t.equal(quarantine.judge(subject('pod')), 'suspect');
  t.notOk(quarantine.empty);
  t.same(quarantine.list(), []);
  quarantine.accuse([subject('pod')]);
  t.equal(quarantine.judge(subject('pod')), 'convicted');
  t.same(quarantine.list(), ['pod']);
  t.equal(quarantine.judge(subject('other')), 'innocent');
});

t.test('deaths under different contents of one subject do not add up', async (t) => {
  const quarantine = kept();
  for (const content of ['a', 'b', 'c']) quarantine.accuse([subject('pod', content)]);
  t.same(quarantine.list(), []);
  quarantine.accuse([subject('pod', 'c')]);
  t.same(quarantine.list(), ['pod']);
});

t.test('a suspect that VPP survived is acquitted, a convict only by asking for something else', async (t) => {
  const quarantine = kept();
  quarantine.accuse([subject('pod')]);
  quarantine.acquit(subject('pod'));
  t.equal(quarantine.judge(subject('pod')), 'innocent');
  for (let deaths = 0; deaths < 2; deaths++) quarantine.accuse([subject('pod')]);
  quarantine.acquit(subject('pod'));
  t.equal(quarantine.judge(subject('pod')), 'convicted');
  t.equal(quarantine.judge(subject('pod', 'something else')), 'innocent');
  t.equal(quarantine.judge(subject('pod')), 'convicted', 'to ask for something else once is no acquittal');
});

t.test('a convict is one whatever else of it was on its way when VPP died', async (t) => {
  const quarantine = kept();
  for (let deaths = 0; deaths < 2; deaths++) quarantine.accuse([subject('pod', 'added')]);
  quarantine.accuse([subject('pod', 'removed')]);
  t.equal(quarantine.judge(subject('pod', 'added')), 'convicted');
  t.equal(quarantine.judge(subject('pod', 'removed')), 'suspect');
  quarantine.accuse([subject('pod', 'removed')]);
  t.same(quarantine.list(), ['pod']);
});

t.test('what VPP had answered when it died is a suspect for longer', async (t) => {
  const quarantine = kept();
  quarantine.accuse([{ ...subject('pod'), answered: true }]);
  t.equal(quarantine.judge(subject('pod')), 'slow suspect');
});

t.test('it is kept over a restart of the process', async (t) => {
  const file = memoryFile();
  const before = kept(file);
  before.accuse([subject('suspect'), subject('convict'), subject('acquitted')]);
  before.accuse([subject('convict')]);
  before.acquit(subject('acquitted'));
  const after = kept(file);
  t.equal(after.judge(subject('suspect')), 'suspect');
  t.equal(after.judge(subject('convict')), 'convicted');
  t.equal(after.judge(subject('acquitted')), 'innocent');
});

t.test('a file that is damaged, or of another release, accuses nobody', async (t) => {
  const texts = [
    '',
    'nonsense',
    '{"version":2,"suspicions":[{"name":"a","content":1}]}',
    '{"version":1}',
    'null',
  ];
  for (const text of texts) {
    const quarantine = kept(memoryFile(text));
    t.ok(quarantine.empty, text);
    quarantine.accuse([subject('pod')]);
    t.equal(quarantine.judge(subject('pod')), 'suspect');
  }
  const unreadable = {
    ...memoryFile(),
    read: () => {
      throw new Error('EIO');
    },
  };
  t.ok(kept(unreadable).empty);
});

t.test('what cannot be written holds for this life of the process, and is told', async (t) => {
  const told: string[] = [];
  const full: QuarantineFile = {
    read: () => undefined,
    write: () => {
      throw new Error('ENOSPC');
    },
  };
  const quarantine = new Quarantine(full, ({ message }) => told.push(message));
  for (let deaths = 0; deaths < 2; deaths++) quarantine.accuse([subject('pod')]);
  t.equal(quarantine.judge(subject('pod')), 'convicted');
  t.same(told, ['ENOSPC', 'ENOSPC']);
});

t.test('the number of suspects is bounded: who was not heard of for longest is forgotten', async (t) => {
  const quarantine = kept();
  const all = Array.from({ length: 5000 }, (_, n) => subject(`pod ${n}`));
  for (let deaths = 0; deaths < 2; deaths++) quarantine.accuse([subject('convict')]);
  quarantine.accuse(all);
  t.equal(all.filter((each) => quarantine.judge(each) === 'suspect').length, 4095);
  t.equal(quarantine.judge(all[4999]!), 'suspect');
  t.equal(quarantine.judge(subject('convict')), 'convicted');
});
