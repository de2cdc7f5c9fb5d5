#!/usr/bin/env node
/** `main.js -c startup.conf`: the stand-in for VPP as a program. No packet passes through it. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { RecordedDevices } from './devices.js';
import { type ControlRequest, type ProgramSettings, settings_variable } from './program.js';
import { type StandInVpp, startStandInVpp } from './stand-in.js';
import { parseStartupConf, type StartupConf } from './startup-conf.js';
import { TunDevices } from './tun-devices.js';

function say(text: string): void {
  process.stderr.write(`stand-in vpp: ${text}\n`);
}

function conf(): StartupConf {
  const [option, path] = process.argv.slice(2);
  if (option !== '-c' || path === undefined) throw new Error('usage: main.js -c startup.conf');
  return parseStartupConf(readFileSync(path, 'utf8'));
}

/** VPP runs these as commands of its command line, of which the stand-in has none. */
function warnOfCommands(path: string | undefined): void {
  if (path === undefined || !existsSync(path)) return;
  const commands = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));
  if (commands.length > 0) say(`${path}: its ${commands.length} commands are not run`);
}

function serveControl(path: string, vpp: StandInVpp): Server {
  if (existsSync(path)) rmSync(path);
  const answer = (request: ControlRequest): unknown => {
    if ('set' in request) vpp.fault(request.set);
    else if ('clear' in request) vpp.clearFaults();
    else return Object.fromEntries(vpp.counts);
    return { ok: true };
  };
  return createServer((socket) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('error', () => {});
    socket.on('data', (chunk: string) => {
      text += chunk;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        socket.write(`${JSON.stringify(answer(JSON.parse(text.slice(0, end))))}\n`);
        text = text.slice(end + 1);
      }
    });
  }).listen(path);
}

async function main(): Promise<void> {
  const { api_socket, pid_file, exec, buffers, host_stack, punt_socket } = conf();
  const settings = JSON.parse(process.env[settings_variable] ?? '{}') as ProgramSettings;
  const { real_devices, control, ...options } = settings;
  warnOfCommands(exec);
  const devices = real_devices ? new TunDevices() : new RecordedDevices();
  const vpp = await startStandInVpp({ ...options, socket: api_socket, buffers, devices, log: say });
  if (host_stack) vpp.state.app_namespaces.enable();
  vpp.state.has_punt_socket = punt_socket;
  const control_server = control === undefined ? undefined : serveControl(control, vpp);
  if (pid_file !== undefined) writeFileSync(pid_file, `${process.pid}\n`);
  say(`answers like VPP on ${api_socket}; no packets pass`);

  const stop = () => {
    // A VPP that spins has its signals blocked.
    if (vpp.hung === undefined) vpp.close();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const { how } = await vpp.ended;
  control_server?.close();
  if (pid_file !== undefined) rmSync(pid_file, { force: true });
  // What a shell reports of a process that a segmentation fault ended.
  process.exit(how === 'died' ? 139 : 0);
}

main().catch((error: Error) => {
  say(error.message);
  process.exit(1);
});
