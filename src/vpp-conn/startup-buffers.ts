/** How many buffers VPP is asked for, and on which pages. Pure. */
import { valueIn, wordsIn } from './startup-sections.js';

/** Totals that this process may have, not what is free now: the text must not differ from one life of VPP to the next. */
export interface BufferFacts {
  readonly hugepages_bytes: number;
  readonly memory_bytes: number;
  readonly pods_max: number;
  /** Descriptors that one pod's receive rings keep filled with buffers. */
  readonly pod_rx_buffers: number;
  /** So many pages of 4 KiB at most, if buffers are on such. */
  readonly small_pages_max?: number;
}

const MiB = 2 ** 20;

/** For packets on their way, uplinks and host taps, beside what the receive rings of pods keep. */
const buffers_spare = 16_384;
/** Numbers that a person can read. */
const buffers_step = 1024;
/** 256 bytes of header, 2048 of data, and the cache line by which VPP makes the stride odd (`vlib_buffer_alloc_size`). */
const buffer_stride = 2368;
const page_bytes = { small: 4096, huge: 2 * MiB };

type PageSize = keyof typeof page_bytes;

/** Buffers that a node with all its pods wants to find in VPP's pool. */
export const buffersWanted = (facts: Pick<BufferFacts, 'pods_max' | 'pod_rx_buffers'>): number =>
  facts.pods_max * facts.pod_rx_buffers + buffers_spare;

/**
 * VPP takes as many pages as the buffers asked for would need if none were cut, lays buffers over them end to end, and leaves out
 * those that would cross a page (`vlib_buffer_pool_create`): of 131,072 asked for on pages of 4 KiB there are 95,647 (seen).
 */
const buffersOfPage = (pages: PageSize): number => page_bytes[pages] / buffer_stride - 1;

/**
 * What VPP has to be asked for so that a node with all its pods has its buffers. VPP touches all of them at its start, so that pages of
 * 4 KiB get at most an eighth of the memory.
 */
export function buffersPerNuma(facts: BufferFacts): number {
  const size: PageSize = usesHugepages(facts) ? 'huge' : 'small';
  const affordable = (size === 'huge' ? facts.hugepages_bytes : facts.memory_bytes / 8) / page_bytes[size];
  const most = size === 'small' ? (facts.small_pages_max ?? Number.POSITIVE_INFINITY) : affordable;
  const pages = Math.min(pagesWanted(facts, size), Math.floor(affordable), most);
  const asked = pages * Math.floor(page_bytes[size] / buffer_stride);
  return Math.max(1, Math.floor(asked / buffers_step)) * buffers_step;
}

/** With room for the step that is rounded off, and for the first buffer, which does not begin where the first page does. */
const pagesWanted = (facts: BufferFacts, size: PageSize): number =>
  Math.ceil((buffersWanted(facts) + buffers_step) / buffersOfPage(size));

/** Hugepages that do not suffice for all are worse than none. */
export const usesHugepages = (facts: BufferFacts): boolean =>
  facts.hugepages_bytes >= pagesWanted(facts, 'huge') * page_bytes.huge;

/** What VPP makes where a template names no number. */
export const buffers_default = 16_384;

/** Do the hugepages suffice for as many buffers as a template asks for? */
export const sufficeFor = (facts: BufferFacts, buffers: number): boolean =>
  facts.hugepages_bytes >= Math.ceil(buffers / Math.floor(page_bytes.huge / buffer_stride)) * page_bytes.huge;

/** `default` is the page of the kernel. */
export const isSmall = (text: string): boolean =>
  /^(4k|4096|default)$/i.test(valueIn(wordsIn(text, 'buffers'), 'page-size') ?? '');

/**
 * vfio maps 65,535 pages for one program (`dma_entry_limit`), and VPP's plugin, of which each page of buffers is one of them, goes on where it maps no more:
 * those buffers are lost to the device. What DPDK has of its own takes its part.
 */
export const vfio_pages_max = 60_000;
