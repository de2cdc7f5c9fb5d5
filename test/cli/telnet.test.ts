import t from 'tap';
import { type Inquiry, TelnetReader, terminalType, windowSize } from '../../src/cli/telnet.js';

/** What VPP sends to a new session: negotiation, then text. */
const GREETING = Buffer.from(
  'fffc22fffe22fffb03fffd03fffb01fffe01fffd18fffa1801fff0fffd1ffffa1f01fff0' +
    Buffer.from('up ').toString('hex') +
    'ffff' +
    '00',
  'hex',
);

t.test('negotiation is taken out, wherever the stream is cut', async (t) => {
  for (let cut = 0; cut <= GREETING.length; cut += 1) {
    const reader = new TelnetReader();
    const text: Buffer[] = [];
    const inquiries: Inquiry[] = [];
    for (const chunk of [GREETING.subarray(0, cut), GREETING.subarray(cut)]) {
      const read = reader.read(chunk);
      text.push(read.text);
      inquiries.push(...read.inquiries);
    }
    t.same(Buffer.concat(text), Buffer.from('up \xff\0', 'latin1'), `cut at ${cut}`);
    t.strictSame(inquiries, ['terminal_type', 'window_size'], `cut at ${cut}`);
  }
});

t.test('answers are what the inquiries ask for', async (t) => {
  t.equal(terminalType('vppctl').toString('hex'), 'fffa180076707063746cfff0');
  t.equal(windowSize(255, 300).toString('hex'), 'fffa1f00ffff012cfff0', 'a 255 is doubled');
});
