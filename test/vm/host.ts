/** A host in the machine, configured as a case says, and the node on it. */
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { far, gatewayFiles } from '../../lab/vm/gateway.js';
import type { Machine } from '../../lab/vm/machine.js';
import { inside } from '../../lab/vm/payload.js';
import { ended_file, node_script } from '../../lab/vm/recipe.js';
import type { HostCase } from './cases.js';
import { type Look, look_script, readLook, withoutConnectedMetrics } from './look.js';

const node = 'calico-vpp-node.service';
/** An emulated processor is slow. */
const ready_deadline_ms = 600_000;
const begin_deadline_ms = 300_000;
const stop_deadline_ms = 120_000;
const pods_deadline_ms = 600_000;
/** Where the node listens unless it is told otherwise. */
const cni_socket = '/var/run/calico/cni-server.sock';

export class HostUnderTest {
  readonly machine: Machine;
  readonly item: HostCase;
  readonly #program: Buffer;
  #times_asked = 0;

  /** `program`: an archive of it. */
  constructor(machine: Machine, item: HostCase, program: Buffer) {
    this.machine = machine;
    this.item = item;
    this.#program = program;
  }

  /** Writes its configuration, and lets its services begin. */
  async begin(): Promise<void> {
    const { item, machine } = this;
    await machine.run(
      `mkdir -p ${inside.program}; cd ${inside.program}; tar -xz; ln -s ${inside.packages} node_modules`,
      undefined,
      this.#program,
    );
    await this.#write({
      ...gatewayFiles(item.networks),
      [node_script]: nodeScript(item, machine),
      ...item.files,
    });
    await machine.run(
      `systemctl daemon-reload
if [ -d /etc/netplan ]; then netplan generate; fi
systemctl restart systemd-modules-load
systemctl start lab-gateway
systemctl enable --now ${item.services.join(' ')}`,
      begin_deadline_ms,
    );
  }

  async #write(files: Readonly<Record<string, string>>): Promise<void> {
    const commands = Object.entries(files).map(([path, content]) => {
      const mode = content.startsWith('#!') ? '755' : /\.(nmconnection|yaml)$/.test(path) ? '600' : '644';
      const text = Buffer.from(content).toString('base64');
      return `mkdir -p ${dirname(path)}; base64 -d <<< ${text} > ${path}; chmod ${mode} ${path}`;
    });
    await this.machine.run(`${commands.join('\n')}\nsync`);
  }

  /** What is wrong with reaching what is beyond the gateway, by address and by name. Nothing: all is well. */
  async unreachable(): Promise<string[]> {
    const { families, dns, reached_by } = this.item;
    const by = reached_by === undefined ? '' : `-I ${reached_by} `;
    const asks = [
      ...families.map(
        (family) => `ping -${family} ${by}-c 1 -W 2 ${family === 4 ? far.address4 : far.address6}`,
      ),
      ...(dns ? [`timeout 5 resolvectl query --cache=no --legend=no -4 ${far.name}`] : []),
    ];
    const answers = await Promise.all(asks.map((ask) => this.machine.try(`${ask} 2>&1`)));
    return answers.flatMap(({ code, output }, index) =>
      code === 0 ? [] : [`${asks[index]}: ${output.trim().split('\n').slice(-2).join(' ')}`],
    );
  }

  /** From now on what is beyond the gateway is asked every 10 ms, and what changes of links, addresses and routes is noted, until `longestSilences`. */
  async startAsking(): Promise<void> {
    this.#times_asked += 1;
    const starts = this.item.families.map((family) => {
      const ping = `ping -${family} -n -D -i 0.01 -W 1 ${family === 4 ? far.address4 : far.address6}`;
      return startUnit(asking(family), `truncate:${this.#answers(family)}`, ping);
    });
    const watch = startUnit(watching, `append:/run/lab/${watching}.log`, 'ip -ts monitor link address route');
    await this.machine.run([...starts, watch].join('\n'));
  }

  #answers(family: 4 | 6): string {
    return `/run/lab/answers${family}.${this.#times_asked}`;
  }

  /** Between two answers, by family. */
  async longestSilences(): Promise<Map<4 | 6, Silence>> {
    await this.machine.run(`systemctl stop ${watching}`);
    const longest = new Map<4 | 6, Silence>();
    for (const family of this.item.families) {
      // Also that which goes on.
      const output = await this.machine.run(`end=$(date +%s.%N)
systemctl stop ${asking(family)}
awk -v end=$end 'function heard(now) { if (last && now - last > most) { most = now - last; from = last } last = now }
/bytes from/ { heard(substr($1, 2) + 0) }
END { heard(end); printf "%.0f %.0f", most * 1000, from * 1000 }' ${this.#answers(family)}`);
      const [ms = 0, from_ms = 0] = output.split(' ').map(Number);
      longest.set(family, { ms, from: new Date(from_ms).toISOString() });
    }
    return longest;
  }

  /** All that was said and noted, for whoever looks for why a case failed. */
  async logs(): Promise<string> {
    return this.machine.run(`exec 2>&1
echo '=== journal'; journalctl --no-pager -o short-precise --utc -n 4000
for file in $(ls -d /run/lab/*.log 2>/dev/null); do echo "=== $file"; tail -c 300000 $file; done
for file in $(ls -d /run/lab/answers* 2>/dev/null); do echo "=== $file: answers behind a silence"; awk '/bytes from/ { now = substr($1, 2) + 0; if (last && now - last > 0.2) printf "%.3f s, then %s\\n", now - last, $0; last = now }' $file; done
echo '=== tasks that wait in the kernel'
for task in /proc/[0-9]*/task/[0-9]*; do
  if grep -qs '^State:.D' $task/status; then echo "$task $(cat $task/comm)"; cat $task/stack || true; fi
done
${look_script}`);
  }

  /**
   * Addresses that are not of use yet: the kernel asks whether another host has them. And families without one: the gateway is reached by a
   * link-local address too.
   */
  async unaddressed(): Promise<string[]> {
    const lines = (await this.machine.run('ip -br -6 address show tentative')).split('\n');
    const lacking = await Promise.all(
      this.item.families.map(async (family) => {
        const found = await this.machine.run(`ip -br -${family} address show scope global`);
        return found.includes('/') ? [] : [`no address of IPv${family}`];
      }),
    );
    return [
      ...lines.filter((line) => line.includes('/')).map((line) => `not of use yet: ${line}`),
      ...lacking.flat(),
    ];
  }

  /** What the DHCP servers no longer hold for the host, which they may give to another. Nothing: all is renewed. */
  async expired(): Promise<string[]> {
    const output = await this.machine.run(
      'date +%s; grep -hsE "^(lease|iaaddr)|^ *(iaaddr|ends)" /run/lab/*.leases || true; echo; ip -j address show scope global',
    );
    const [now = '', ...lines] = output.split('\n');
    return expiredLeases(lines.slice(0, lines.indexOf('')), Number(now))
      .filter((address) => output.includes(`"local":"${address}"`))
      .map((address) => `nobody renews the lease of ${address}`);
  }

  async look(): Promise<Look> {
    const look = readLook(await this.machine.run(look_script));
    return this.item.untold || this.item.silent_servers ? withoutConnectedMetrics(look) : look;
  }

  async startNode(): Promise<void> {
    await this.machine.run(`systemctl start ${node}`);
  }

  /** Throws with what the node said last when it does not become ready. */
  async untilReady(): Promise<void> {
    await this.#untilSaid(/^HTTP\/1.1 200/, 'the node is not ready');
  }

  /** Throws when the node does not say, of its readiness, that it refuses this host. */
  async untilRefused(reason: RegExp): Promise<void> {
    await this.#untilSaid(reason, `the node does not refuse it with ${reason}`);
  }

  async #untilSaid(wanted: RegExp, otherwise: string): Promise<void> {
    const deadline = Date.now() + ready_deadline_ms;
    let answer = '';
    while (Date.now() < deadline) {
      const { output } = await this.machine.try(
        `systemctl -q is-active ${node} || { echo gone; exit; }
exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /readyz?verbose HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`,
        20_000,
      );
      if (wanted.test(output)) return;
      answer = output;
      if (output.startsWith('gone')) break;
      await sleep(1000);
    }
    throw new Error(`${otherwise}: ${answer}\n${await this.lastWords()}`);
  }

  /** What `check` says of this host. */
  async check(): Promise<string> {
    return (await this.machine.try(`${node_script} check 2>&1`, 120_000)).output;
  }

  async lastWords(lines = 40): Promise<string> {
    const text = await this.machine.run(`journalctl --no-pager -o cat -u ${node} -n ${lines}`);
    return text
      .split('\n')
      .map((line) => {
        try {
          const { level, msg, err } = JSON.parse(line);
          return `${level} ${msg} ${err?.message ?? ''}`.slice(0, 300);
        } catch {
          return line.slice(0, 300);
        }
      })
      .join('\n');
  }

  /** VPP's threads beside its main one. */
  async workers(): Promise<number> {
    const threads = await this.machine.run(`${node_script} vppctl show threads`);
    return threads.split('\n').filter((line) => /\bvpp_wk_\d/.test(line)).length;
  }

  /** What is wrong with as many pods as the case has, made and removed again, and how long it took. */
  async pods(count: number): Promise<{ problems: string[]; figures: string }> {
    const program = `${inside.node} ${inside.program}/out/lab/vm/pods.js ${cni_socket} ${count}`;
    const { code, output } = await this.machine.try(
      `modprobe vhost_net; test -c /dev/vhost-net || echo the kernel has no vhost-net
${program} 2>&1`,
      pods_deadline_ms,
    );
    const lines = output.trim().split('\n');
    const figures = lines.find((line) => line.startsWith('figures ')) ?? '';
    const problems = lines.filter((line) => line !== figures);
    if (code !== 0 && problems.length === 0) problems.push(`the program for pods ended with ${code}`);
    return { problems, figures: figures.slice('figures '.length) };
  }

  /** How much passes between the host and these addresses of the other side, and what is wrong with that. */
  async throughput(
    targets: Readonly<Record<string, string>>,
  ): Promise<{ problems: string[]; figures: string }> {
    const server = 'lab-iperf';
    await this.machine.run(`systemd-run -q --collect --unit ${server} ip netns exec gw iperf3 -s
until ip netns exec gw ss -ltn | grep -q :5201; do sleep 0.1; done`);
    const figures: string[] = [];
    const problems: string[] = [];
    for (const [name, address] of Object.entries(targets)) {
      for (const [what, options] of Object.entries(ways_of_iperf)) {
        const { code, output } = await this.machine.try(`iperf3 -J -t 5 ${options} -c ${address} 2>&1`);
        const figure = code === 0 ? figureOf(output) : undefined;
        if (figure === undefined)
          problems.push(`${name}: iperf3 ${options} ended with ${code}: ${output.slice(-300)}`);
        else figures.push(`${name} ${what} ${figure}`);
      }
    }
    await this.machine.run(`systemctl stop ${server}`);
    return { problems, figures: figures.join(', ') };
  }

  /** How often VPP has opened the kernel's vhost-net. */
  async vhostNets(): Promise<number> {
    const files = await this.machine.run(
      `ls -l /proc/$(pgrep -of ${inside.vpp})/fd | grep -c /dev/vhost-net || true`,
    );
    return Number(files);
  }

  /** Resolves with how the life ended: `success exited 0`. */
  async stopNode(): Promise<string> {
    await this.machine.run(`systemctl stop ${node}`, stop_deadline_ms);
    return this.howItEnded();
  }

  /** What is wrong with what `restore` says. */
  async restore(): Promise<string[]> {
    const { code, output } = await this.machine.try(`${node_script} restore 2>&1`, stop_deadline_ms);
    return code === 0 ? [] : [`restore ended with ${code}: ${output.slice(-1000)}`];
  }

  async killNode(): Promise<void> {
    await this.machine.run(
      `systemctl kill --kill-whom=all --signal=KILL ${node}
while systemctl -q is-active ${node}; do sleep 0.2; done`,
    );
  }

  /** Kills VPP alone. Resolves when there is another one. */
  async killVpp(): Promise<void> {
    await this.machine.run(
      `now() { pgrep -ox vpp_main; }
before=$(now)
kill -KILL $before
until after=$(now) && [ $after != $before ]; do sleep 0.2; done`,
    );
  }

  /** The DHCP servers of its networks. What they were asked meanwhile they answer later. */
  async letServersAnswer(does: boolean): Promise<void> {
    await this.machine.run(`pkill ${does ? '-CONT' : '-STOP'} -x dhcpd`);
  }

  async howItEnded(): Promise<string> {
    const [result = '', code = '', status = ''] = (await this.machine.run(`cat ${ended_file}`)).split(/\s+/);
    return `${result} ${code} ${status}`;
  }
}

/** Between two answers. */
export interface Silence {
  readonly ms: number;
  /** ISO 8601. */
  readonly from: string;
}

/** Packets of 64 bytes cost what a packet costs, and large ones what a byte does. */
const ways_of_iperf = {
  'TCP out': '',
  'TCP in': '-R',
  'UDP of 64 bytes out': '-u -b 0 -l 64',
};

/** Of iperf3's report: what the receiver had. Undefined: it is none. */
function figureOf(output: string): string | undefined {
  const { end } = JSON.parse(output.slice(output.indexOf('{'))) as {
    end: {
      sum?: { packets: number; lost_packets: number; seconds: number };
      sum_received?: { bits_per_second: number };
    };
  };
  const { sum, sum_received } = end;
  if (sum?.packets !== undefined)
    return `${((sum.packets - sum.lost_packets) / sum.seconds / 1000).toFixed(2)} kpps`;
  return sum_received && `${(sum_received.bits_per_second / 1e6).toFixed(1)} Mbit/s`;
}

const asking = (family: 4 | 6): string => `lab-asking${family}`;
const watching = 'lab-watching';

/** `output`: as systemd.exec(5) has StandardOutput. */
const startUnit = (unit: string, output: string, command: string): string =>
  `systemd-run -q --collect --unit ${unit} -p StandardOutput=${output} ${command}`;

function nodeScript(item: HostCase, machine: Machine): string {
  const interfaces = item.uplinks.map((interfaceName, index) => ({
    interfaceName,
    vppDriver: item.drivers?.[index] ?? 'af_packet',
    isMain: index === 0,
    rxqsz: 256,
    txqsz: 256,
  }));
  const environment = {
    NODENAME: 'lab',
    CALICOVPP_KUBERNETES: 'off',
    CALICOVPP_INTERFACES: JSON.stringify({ uplinkInterfaces: interfaces }),
    CALICOVPP_MAX_PODS: '16',
    CALICOVPP_VPP_BINARY: inside.vpp,
    CALICOVPP_VPP_ENVIRONMENT: JSON.stringify(machine.vpp_environment),
    CALICOVPP_HEALTH_ADDRESS: '127.0.0.1',
    // The processor is emulated, and slower by a factor of ten.
    CALICOVPP_VPP_CONNECT_TIMEOUT: '120s',
    CALICOVPP_VPP_PROBE_TIMEOUT: '15s',
    UV_THREADPOOL_SIZE: '16',
    ...item.environment,
  };
  const exports = Object.entries(environment).map(([name, value]) => `export ${name}='${value}'\n`);
  return `#!/bin/sh\n${exports.join('')}exec ${inside.node} ${inside.program}/out/src/main.js "$@"\n`;
}

/** Of a server's file of leases, in which the last word on an address counts. `now_s`: since the epoch. */
function expiredLeases(lines: readonly string[], now_s: number): string[] {
  const ends = new Map<string, number>();
  let address = '';
  for (const line of lines) {
    const [, name] = /^\s*(?:lease|iaaddr) (\S+) \{/.exec(line) ?? [];
    if (name !== undefined) address = name;
    const [, date, time] = /ends \d (\S+) (\S+);/.exec(line) ?? [];
    if (date !== undefined) ends.set(address, Date.parse(`${date.replaceAll('/', '-')}T${time}Z`) / 1000);
  }
  return [...ends].filter(([, end_s]) => end_s < now_s).map(([name]) => name);
}
