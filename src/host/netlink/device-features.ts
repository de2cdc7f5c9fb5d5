/**
 * What a device does by itself (`ethtool -k`), by the names that the kernel has for it. Each question is one argument of SIOCETHTOOL, which the kernel
 * fills in. Structures of linux/ethtool.h.
 */

const ETHTOOL_GSTRINGS = 0x1b;
const ETHTOOL_GSSET_INFO = 0x37;
const ETHTOOL_GFEATURES = 0x3a;
const ETHTOOL_SFEATURES = 0x3b;
const ETH_SS_FEATURES = 4;
const ETH_GSTRING_LEN = 32;
/** More than any kernel has: 64 or so. */
const features_max = 1024;

/** Has the kernel fill an argument in; throws what it answers. */
export type AskDevice = (argument: Buffer) => void;

/** Names of the features that are on. */
export function featuresOn(ask: AskDevice): string[] {
  const names = featureNames(ask);
  const blocks = Math.ceil(names.length / 32);
  // `struct ethtool_gfeatures`: cmd, size; in each block available, requested, active, never_changed; u32 each.
  const bytes = Buffer.alloc(8 + blocks * 16);
  bytes.writeUInt32LE(ETHTOOL_GFEATURES);
  bytes.writeUInt32LE(blocks, 4);
  ask(bytes);
  return names.filter((_, at) => (bytes.readUInt32LE(8 + (at >> 5) * 16 + 8) >>> (at & 31)) & 1);
}

/** Those of these names that the kernel does not know, or that the device has no say in, stay as they are. */
export function setFeatures(ask: AskDevice, wanted: readonly string[], on: boolean): void {
  const names = featureNames(ask);
  const blocks = Math.ceil(names.length / 32);
  // `struct ethtool_sfeatures`: cmd, size; in each block valid, requested; u32 each.
  const bytes = Buffer.alloc(8 + blocks * 8);
  bytes.writeUInt32LE(ETHTOOL_SFEATURES);
  bytes.writeUInt32LE(blocks, 4);
  const add = (offset: number, bit: number): void => {
    bytes.writeUInt32LE((bytes.readUInt32LE(offset) | (1 << bit)) >>> 0, offset);
  };
  for (const name of wanted) {
    const at = names.indexOf(name);
    if (at < 0) continue;
    const block = 8 + (at >> 5) * 8;
    add(block, at & 31);
    if (on) add(block + 4, at & 31);
  }
  ask(bytes);
}

function featureNames(ask: AskDevice): string[] {
  // `struct ethtool_sset_info`: cmd, reserved, sset_mask (u64), then one u32 per set.
  const info = Buffer.alloc(20);
  info.writeUInt32LE(ETHTOOL_GSSET_INFO);
  info.writeBigUInt64LE(1n << BigInt(ETH_SS_FEATURES), 8);
  ask(info);
  const count = Math.min(info.readUInt32LE(16), features_max);
  // `struct ethtool_gstrings`: cmd, string_set, len, then so many texts.
  const bytes = Buffer.alloc(12 + count * ETH_GSTRING_LEN);
  bytes.writeUInt32LE(ETHTOOL_GSTRINGS);
  bytes.writeUInt32LE(ETH_SS_FEATURES, 4);
  bytes.writeUInt32LE(count, 8);
  ask(bytes);
  return Array.from({ length: count }, (_, at) => {
    const text = bytes.toString('latin1', 12 + at * ETH_GSTRING_LEN, 12 + (at + 1) * ETH_GSTRING_LEN);
    return text.slice(0, text.indexOf('\0'));
  });
}
