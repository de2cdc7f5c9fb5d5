/** PCI addresses as VPP's messages have them. Pure. */
import type { PciAddress } from './interfaces.js';

export interface PciParts {
  readonly domain: number;
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
}

const form = /^([0-9a-f]{1,8}):([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])$/i;

/** Throws RangeError for what is no PCI address, or has a domain that VPP's 16 bits do not hold. */
function parsed(address: PciAddress): PciParts {
  const [, ...parts] = form.exec(address) ?? [];
  const [domain = Number.NaN, bus = 0, slot = 0] = parts.map((part) => Number.parseInt(part, 16));
  if (!(domain <= 0xffff && slot < 32))
    throw new RangeError(`${address} is not a PCI address that VPP can take`);
  return { domain, bus, slot, function: Number(parts[3]) };
}

/**
 * `vl_api_pci_address_t`. VPP 26.10 takes the domain as it lies in memory (`pci_address_decode`), so that its bytes are the other way
 * round than those of all else.
 */
export function pciParts(address: PciAddress): PciParts {
  const { domain, ...rest } = parsed(address);
  return { domain: swapped(domain), ...rest };
}

/** Back from what VPP tells (`pci_address_encode`), by the same rule. */
export function pciOfParts({ domain, bus, slot, function: number }: PciParts): PciAddress {
  return written({ domain: swapped(domain), bus, slot, function: number });
}

/** `vlib_pci_addr_t.as_u32` of a little-endian machine, which VPP's messages have in network order. */
export function pciNumber(address: PciAddress): number {
  const { domain, bus, slot, function: number } = parsed(address);
  return (domain | (bus << 16) | (slot << 24) | (number << 29)) >>> 0;
}

export function pciOfNumber(number: number): PciAddress {
  return written({
    domain: number & 0xffff,
    bus: (number >>> 16) & 0xff,
    slot: (number >>> 24) & 0x1f,
    function: number >>> 29,
  });
}

/** The name of a device in VPP's `dev` framework. */
export const devId = (address: PciAddress): string => `pci/${address}`;

const swapped = (domain: number): number => ((domain & 0xff) << 8) | (domain >> 8);

function written({ domain, bus, slot, function: number }: PciParts): PciAddress {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${number}`;
}
