/** Sysctls of one link, which Linux forgets when the link changes its namespace. */
import type { Link, NetworkNamespace } from '../linux/network.js';

/** By path below /proc/sys. */
export interface Sysctl {
  readonly path: string;
  readonly value: string;
}

const directories = ['ipv4/conf', 'ipv6/conf', 'ipv4/neigh', 'ipv6/neigh'] as const;

/** Said with the link itself. */
const elsewhere: ReadonlySet<string> = new Set(['addr_gen_mode']);
/** IPv6's MTU, which the kernel sets back whenever the link comes up or gets another one. */
const mtu = 'mtu';
/** The kernel gives temporary addresses up for the link (-1) when it is to make one and there is no carrier yet. */
const temporary = 'use_tempaddr';

/** Those that are not as they are for a new link. */
export function linkSysctls(namespace: NetworkNamespace, link: Pick<Link, 'name' | 'mtu'>): Sysctl[] {
  return directories.flatMap((directory) => {
    const usual = namespace.readSysctls(`net/${directory}/default`);
    const own = [...namespace.readSysctls(`net/${directory}/${link.name}`)];
    return own.flatMap(([name, value]) => {
      const expected = name === mtu ? String(link.mtu) : usual.get(name);
      const is_usual = value === expected && !(name === temporary && Number(value) > 0);
      return is_usual || elsewhere.has(name)
        ? []
        : [{ path: `net/${directory}/${link.name}/${name}`, value }];
    });
  });
}

/** Before the link is set up, and gets its addresses. */
export function earlySysctls(sysctls: readonly Sysctl[]): Sysctl[] {
  return sysctls.flatMap((sysctl) => {
    const { path } = sysctl;
    return nameOf(path) === mtu ? [] : [nameOf(path) === temporary ? { path, value: '0' } : sysctl];
  });
}

/** Behind its addresses. */
export function lateSysctls(sysctls: readonly Sysctl[]): Sysctl[] {
  return sysctls.filter(({ path }) => [mtu, temporary].includes(nameOf(path)));
}

/** Not for the tap: its link-local addresses are those of the uplink, whatever they were made from. */
export function isSecret({ path }: Sysctl): boolean {
  return nameOf(path) === 'stable_secret';
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
