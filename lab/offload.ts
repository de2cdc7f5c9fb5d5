/** Offloads of a device, so that no test needs the program `ethtool`. */
import { closeSync } from 'node:fs';
import { interfaceControl, SOCK_DGRAM, socket } from '../src/host/libc.js';
import { inNamespace } from '../src/host/netns.js';

const AF_INET = 2;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GTXCSUM = 0x16;
const ETHTOOL_STXCSUM = 0x17;
const ETHTOOL_GGSO = 0x23;
const ETHTOOL_SGSO = 0x24;

/** Checksums of what this link sends are computed before it is sent, as `ethtool -K LINK tx off` says it. Throws when they are not after that. */
export function checksumInSoftware(netns: string, link: string): void {
  takeOff(netns, link, ETHTOOL_STXCSUM, ETHTOOL_GTXCSUM);
}

/** Nor is what it sends cut by it, or on its way to it, as `ethtool -K LINK gso off` says it. */
export function cutBefore(netns: string, link: string): void {
  takeOff(netns, link, ETHTOOL_SGSO, ETHTOOL_GGSO);
}

/** Whether the checksums of what this link sends are left to it. */
export function checksumByDevice(netns: string, link: string): boolean {
  const fd = inNamespace(netns, () => socket(AF_INET, SOCK_DGRAM, 0));
  try {
    const value = ethtoolValue(ETHTOOL_GTXCSUM);
    interfaceControl(fd, SIOCETHTOOL, link, value);
    return value.readUInt32LE(4) !== 0;
  } finally {
    closeSync(fd);
  }
}

function takeOff(netns: string, link: string, set: number, get: number): void {
  const fd = inNamespace(netns, () => socket(AF_INET, SOCK_DGRAM, 0));
  try {
    interfaceControl(fd, SIOCETHTOOL, link, ethtoolValue(set));
    const value = ethtoolValue(get);
    interfaceControl(fd, SIOCETHTOOL, link, value);
    if (value.readUInt32LE(4) !== 0) throw new Error(`${link} does not take this offload off`);
  } finally {
    closeSync(fd);
  }
}

/** `struct ethtool_value` of <linux/ethtool.h>, with 0. */
function ethtoolValue(command: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(command, 0);
  return bytes;
}
