/** By thread of VPP, the main one first, then its workers: the NUMA node of its CPU. Undefined: no node has it, as far as VPP sees. */
export type NumaOfThreads = readonly (number | undefined)[];

/** -1, as `show_threads` tells it. */
const nowhere = 0xffff_ffff;

export function numaOfThreads(threads: readonly { readonly cpu_socket: number }[]): NumaOfThreads {
  return threads.map(({ cpu_socket }) => (cpu_socket === nowhere ? undefined : cpu_socket));
}
