/** Traces and captures: what VPP is told, that it is taken back whatever happens, and what a capture is made of. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { chosenFilter, hasTraced, inputNodeOf, interfaceName } from '../../src/cli/captures.js';
import { asEthernet, link_types, packetsOf, pcapFile } from '../../src/cli/pcap-file.js';
import { fakeNode, placement } from './fake-node.js';
import { run } from './run-cli.js';

t.test('interfaces by their index', async (t) => {
  const text =
    '              Name               Idx    State  MTU (L3/IP4/IP6/MPLS)     Counter          Count     \nlocal0                            0     down          0/0/0/0       \ntun1                              4      up          1500/0/0/0     rx packets 3\n';
  t.equal(interfaceName(text, 4), 'tun1');
  t.equal(interfaceName(text, 5), undefined);
});

t.test('what polls an interface is what VPP says', async (t) => {
  t.equal(inputNodeOf(placement, 'tap0'), 'tap-input');
  t.equal(inputNodeOf(placement, 'tun1'), 'tap-input');
  t.equal(inputNodeOf(placement, 'memif1/0'), 'memif-input');
  t.equal(inputNodeOf(placement, 'host-eth0'), 'af-packet-input');
  t.equal(inputNodeOf(placement, 'tun'), undefined);
});

const no_filter = ['show bpf trace filter', 'show trace filter function'] as const;

t.test('traces and captures: what VPP is told, and that it is taken back', async (t) => {
  const { env, told, directory } = await fakeNode(t);
  const traced = await run(['trace', 'default/web-0', '--seconds', '0.1', '--filter', 'tcp port 80'], env);
  t.equal(traced.code, 0, traced.stderr);
  t.match(traced.stdout, /^Packet 1/);
  t.strictSame(told, [
    'show interface',
    'show interface rx-placement',
    'show trace max 1',
    ...no_filter,
    'set bpf trace filter {{tcp port 80}}',
    'set trace filter function bpf_trace_filter',
    'trace add tap-input 50 filter',
    'show trace max 50',
    'clear trace',
    'set trace filter function of_before',
    'set bpf trace filter del',
  ]);
  told.length = 0;
  t.match(await run(['trace', '--input-node', 'nowhere'], env), {
    code: 1,
    stderr: /VPP refuses `trace add nowhere 50`: unknown input/,
  });
  t.equal(told.at(-1), 'clear trace');
  t.match(await run(['trace', '--input-node', 'a b'], env), { code: 2, stderr: /is no graph node/ });
  t.match(await run(['trace', '--filter', 'tcp}\nquit'], env), {
    code: 2,
    stderr: /--filter takes an expression/,
  });
  t.match(await run(['trace', '--filter', 'broken'], env), {
    code: 1,
    stderr: /VPP refuses the filter "broken": Failed pcap_compile/,
  });
  told.push('no plugin');
  t.match(await run(['trace', '--filter', 'tcp'], env), {
    code: 1,
    stderr: /has no bpf_trace_filter plugin, which --filter needs: leave it away/,
  });
  told.length = 0;
  const file = join(directory, 'a.pcap');
  const captured = await run(['pcap', '--interface', 'tun1', '--seconds', '0.1', '--output', file], env);
  t.equal(captured.code, 0, captured.stderr);
  t.match(captured.stderr, /what pods send is not in it/);
  t.match(
    told[0],
    /^pcap trace rx tx max 50 intfc tun1 file calico-vpp-node-[0-9a-f]{16}\.pcap max-bytes-per-pkt 512$/,
  );
  t.equal(told.at(-1), 'pcap trace off');
  t.equal(readFileSync(file, 'utf8'), 'packets');
  t.equal(statSync(file).mode & 0o777, 0o600, 'its owner’s alone');
  t.notOk(existsSync(`/tmp/${/file (\S+)/.exec(told[0]!)![1]}`), 'and nowhere else');
  told.length = 0;
  const busy = await run(['pcap', '--interface', 'busy', '--output', file], env);
  t.match(busy, { code: 1, stderr: /VPP refuses .*already enabled/ });
  t.notOk(told.includes('pcap trace off'), 'the capture of another goes on');
  for (const [command, text] of [
    [['trace', '--packets', '501'], /--packets takes a number from 1 to 500/],
    [['pcap', '--packets', '10000', '--bytes', '9000', '--output', file], /at most 16777216/],
    [['pcap', 'default/web-0', '--interface', 'tun1', '--output', file], /either a pod, or an interface/],
  ] as const)
    t.match(await run([...command], env), { code: 2, stderr: text });
});

t.test('what VPP says of traces and filters', async (t) => {
  t.ok(hasTraced('------ Start of thread 0 vpp_main ------\nPacket 1\n\n00:00:01:0: tap-input'));
  t.notOk(hasTraced('------ Start of thread 0 vpp_main ------\nNo packets in trace buffer\n'));
  t.equal(chosenFilter('name:a description: x\n(*) name:b_c description: y priority: 1\n'), 'b_c');
  t.equal(chosenFilter("unknown input `function'"), undefined);
});

t.test('what others have traced, and their filter, are left to them', async (t) => {
  const { env, told, answers } = await fakeNode(t);
  const quick = ['--input-node', 'tap-input', '--seconds', '0.1', '--filter', 'tcp'];
  answers.set('show trace max 1', 'Packet 1\n\n00:00:01:000000: tap-input\n');
  t.match(await run(['trace', ...quick], env), {
    code: 1,
    stderr: /traced packets of somebody else.*--clear/,
  });
  t.strictSame(told, ['show trace max 1']);
  answers.clear();
  answers.set('show bpf trace filter', '(000) ret      #65535');
  told.length = 0;
  t.match(await run(['trace', ...quick], env), { code: 1, stderr: /a filter of somebody else.*--clear/ });
  t.strictSame(told, ['show trace max 1', 'show bpf trace filter']);
  told.length = 0;
  t.equal((await run(['trace', ...quick, '--clear'], env)).code, 0);
  t.equal(told[0], 'clear trace', 'unless it is said');
  const capture = ['pcap', '--seconds', '0.1', '--output', '-'];
  told.length = 0;
  t.equal((await run([...capture, '--clear'], env)).code, 0);
  t.match(told, ['pcap trace off', /^pcap trace rx tx/, 'pcap trace off']);
});

t.test('a signal at any moment leaves nothing on in VPP', async (t) => {
  const { env, told, at } = await fakeNode(t);
  const listeners = process.listenerCount('SIGTERM');
  const trace = ['trace', '--input-node', 'tap-input', '--seconds', '60', '--filter', 'tcp'];
  const capture = ['pcap', '--seconds', '60', '--output', '-', '--filter', 'tcp'];
  /** VPP is as it was: what was begun is ended, and the filter is put back. */
  const isOff = () => {
    const last = (pattern: RegExp) => told.findLastIndex((line) => pattern.test(line));
    const undone = [
      [/^trace add/, /^clear trace/],
      [/^pcap trace rx/, /^pcap trace off/],
      [/^set bpf trace filter \{/, /^set bpf trace filter del/],
      [/filter function bpf_trace_filter/, /filter function of_before/],
    ] as const;
    return undone.every(([begun, ended]) => last(begun) < 0 || last(begun) < last(ended));
  };
  const around = [
    'show bpf trace filter',
    'set bpf trace filter {{tcp}}',
    'filter function bpf_trace_filter',
    'filter function of_before',
    'set bpf trace filter del',
  ];
  for (const [argv, commands] of [
    [trace, ['show trace max 1', 'trace add', 'show trace max 50', 'clear trace', ...around]],
    [capture, ['pcap trace rx', 'pcap trace off', ...around]],
  ] as const)
    for (const command of commands)
      for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) {
        told.length = 0;
        let sent = false;
        at.set(command, () => {
          sent = true;
          // No listener of ours: it would end this test.
          process.kill(process.pid, signal);
          // What comes while that is taken back.
          process.kill(process.pid, signal);
        });
        // The last commands come when the wait is over.
        const late = /^(show trace max 50|clear trace|pcap trace off|.*of_before|.* del)$/.test(command);
        const { code } = await run(late ? argv.map((word) => (word === '60' ? '0.1' : word)) : argv, env);
        at.clear();
        t.ok(sent);
        t.ok(isOff(), `${argv[0]}, ${signal} at \`${command}\`: ${told.join('; ')}`);
        t.ok([0, 1].includes(code));
        t.equal(process.listenerCount('SIGTERM'), listeners, 'and signals end the process again');
      }
});

t.test('a capture of VPP is read as Ethernet, with what is handed to tuns', async (t) => {
  const at_us = 1_700_000_000_123_456n;
  const frame = Buffer.alloc(60, 1);
  frame.writeUInt16BE(0x0800, 12);
  const ip4 = Buffer.alloc(28);
  ip4[0] = 0x45;
  ip4.writeUInt16BE(28, 2);
  const ip6 = Buffer.alloc(48);
  ip6[0] = 0x60;
  ip6.writeUInt16BE(1208, 4);
  // A destination that begins like IPv4, of another length.
  const odd = Buffer.from(frame);
  odd[0] = 0x45;
  const packets = [frame, ip4, ip6, odd].map((bytes) => ({
    at_us,
    bytes,
    original_length: bytes === ip6 ? 1248 : bytes.length,
  }));
  const file = pcapFile(link_types.ethernet, packets);
  t.strictSame(packetsOf(file), packets, 'as it was written');
  for (let cut = 0; cut < file.length; cut += 1) {
    const left = packetsOf(file.subarray(0, cut));
    if (cut < 24) t.equal(left, undefined);
    else if (left === undefined || left.length >= packets.length) t.fail(`cut at ${cut}`);
  }
  t.equal(packetsOf(Buffer.alloc(100)), undefined);
  const shown = asEthernet(packets);
  t.strictSame(
    shown.map(({ bytes, original_length }) => [
      bytes.length,
      original_length,
      Buffer.from(bytes).readUInt16BE(12),
    ]),
    [
      [60, 60, 0x0800],
      [42, 42, 0x0800],
      [62, 1262, 0x86dd],
      [60, 60, 0x0800],
    ],
  );
  t.strictSame(Buffer.from(shown[1]!.bytes).subarray(14), ip4);
});
