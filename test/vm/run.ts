/** `run.js [NAME …] [--list] [--container] [--logs]`: hosts with systemd in a virtual machine, and what a node's life leaves of their network. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Container } from '../../lab/vm/container.js';
import { whyNoImage } from '../../lab/vm/image.js';
import type { Hardware, Machine } from '../../lab/vm/machine.js';
import { programArchive } from '../../lab/vm/payload.js';
import { emulator_tools, hasDevice, startBooted } from '../../lab/vm/qemu.js';
import { cases, type HostCase } from './cases.js';
import { HostUnderTest } from './host.js';
import { type Report, runCase } from './run-case.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    container: { type: 'boolean', default: false },
    /** Of those that pass, too. */
    logs: { type: 'boolean', default: false },
  },
});

const said = (text: string): void => console.log(text);

function chosen() {
  const unknown = positionals.filter((name) => !cases.some((item) => item.name === name));
  if (unknown.length > 0)
    throw new Error(
      `no case is called ${unknown.join(', ')}; there are ${cases.map(({ name }) => name).join(', ')}`,
    );
  return positionals.length === 0 ? cases : cases.filter(({ name }) => positionals.includes(name));
}

function whyNot(): string | undefined {
  const vpp = process.env.VPP_BIN ?? '';
  if (vpp === '') return 'needs VPP_BIN, the path of a VPP executable';
  if (!existsSync(vpp)) return `VPP_BIN: there is no ${vpp}`;
  return whyNoImage(values.container ? {} : emulator_tools);
}

async function main(): Promise<number> {
  const selected = chosen();
  if (values.list) {
    for (const { name, ending } of selected) said(`${name.padEnd(name_width)}${ending}`);
    return 0;
  }
  const why_not = whyNot();
  if (why_not !== undefined) {
    for (const { name } of selected) said(`SKIP ${name.padEnd(name_width)}${why_not}`);
    return 0;
  }
  let failed = 0;
  for (const hardware of ['plain', 'pci', 'unsafe'] as const)
    failed += await runOn(
      hardware,
      selected.filter((item) => (item.hardware ?? 'plain') === hardware),
    );
  said(failed === 0 ? 'all passed' : `${failed} failed`);
  return failed === 0 ? 0 : 1;
}

/** How many of the cases fail on a machine that has this hardware. */
async function runOn(hardware: Hardware, selected: readonly HostCase[]): Promise<number> {
  const runnable = selected.filter((item) => {
    const why_not = whyNotCase(item);
    if (why_not !== undefined) said(`SKIP ${item.name.padEnd(name_width)}${why_not}`);
    return why_not === undefined;
  });
  if (runnable.length === 0) return 0;
  const directory = mkdtempSync(join(tmpdir(), 'cvn-vm-'));
  const vpp = process.env.VPP_BIN!;
  let machine: Machine | undefined;
  let failed = 0;
  try {
    machine = values.container
      ? await Container.start(vpp, directory, said)
      : await startBooted(vpp, directory, said, hardware);
    const program = programArchive();
    for (const item of runnable) {
      const since = Date.now();
      await machine.fresh();
      const host = new HostUnderTest(machine, item, program);
      const report = await runCase(host);
      if (report.problems.length > 0) failed += 1;
      said(reportText(item.name, report, seconds(since)));
      if (report.problems.length > 0 || values.logs) await keepLogs(host);
    }
  } finally {
    await machine?.close();
    rmSync(directory, { recursive: true, force: true });
  }
  return failed;
}

function whyNotCase(item: HostCase): string | undefined {
  const { hardware = 'plain', plugins = [] } = item;
  const { VPP_DPDK_PLUGIN = '', VFIO_MODULE = '' } = process.env;
  if (values.container && (item.own_kernel || hardware !== 'plain'))
    return 'needs a kernel of its own: run it without --container';
  if (plugins.includes('dpdk') && VPP_DPDK_PLUGIN === '')
    return 'needs VPP_DPDK_PLUGIN, the path of a dpdk_plugin.so that was built for this VPP';
  if (hardware === 'unsafe' && VFIO_MODULE === '')
    return "needs VFIO_MODULE, the path of a vfio.ko with CONFIG_VFIO_NOIOMMU that was built for Debian's kernel";
  const missing = (item.devices ?? []).find((name) => !hasDevice(name));
  return missing === undefined ? undefined : `needs a QEMU that has ${missing}`;
}

const name_width = 32;

let kept = '';

/** A machine that is gone has none. */
async function keepLogs(host: HostUnderTest): Promise<void> {
  const logs = await host.logs().catch((error: Error) => error.message);
  if (kept === '') kept = mkdtempSync(join(tmpdir(), 'cvn-vm-logs-'));
  const path = join(kept, `${host.item.name}.log`);
  writeFileSync(path, logs);
  said(`     logs: ${path}`);
}

const seconds = (since: number): string => `${((Date.now() - since) / 1000).toFixed(0)} s`;

function reportText(name: string, { problems, notes }: Report, took: string): string {
  const first = `${problems.length === 0 ? 'PASS' : 'FAIL'} ${name.padEnd(name_width)}${took.padStart(6)}  ${notes.join(', ')}`;
  return [first, ...problems.map((problem) => `     ${problem.replaceAll('\n', '\n       ')}`)].join('\n');
}

process.exit(await main());
