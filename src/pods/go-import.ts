/** Pods of the Go implementation that are still there become ours; its file stays where it is. */

import { importGoState } from '../cni/go-state.js';
import { lowestFreeSlot, recordedSlot, tablesOf } from '../desired/admission.js';
import type { PodNamespaces } from './pod-namespaces.js';
import type { PodRecords } from './pod-records.js';

/**
 * Takes over those that have no record, and whose device is where the file says. `taken`: slots that are others'. What there is to tell
 * about it, a sentence each; `open`: not all could be written down. Can be repeated.
 */
export function takeOver(
  text: string,
  records: PodRecords,
  namespaces: PodNamespaces,
  taken: Iterable<number>,
): { readonly told: readonly string[]; readonly open: boolean } {
  const { specs, problems } = importGoState(text);
  const told: string[] = [];
  const slots = new Set([...taken, ...records.list().flatMap(({ tables }) => recordedSlot(tables) ?? [])]);
  let count = 0;
  let open = false;
  const without_memif = records.without_memif;
  for (const spec of specs) {
    if (records.get(spec.key) !== undefined) continue;
    const namespace = namespaces.withDeviceOf(spec);
    if (namespace === undefined) continue;
    const slot = lowestFreeSlot(slots);
    try {
      records.put({ phase: 'done', spec, tables: tablesOf(spec, slot), namespace });
      slots.add(slot);
      count += 1;
    } catch (error) {
      open = true;
      told.push(`${spec.key}: not taken over yet: ${(error as Error).message}`);
    }
  }
  if (count > 0) told.push(`${count} pods taken over from the Go implementation`);
  if (records.without_memif > without_memif)
    told.push(
      `${records.without_memif - without_memif} of them go without their memif: see docs/fast-paths.md on memifEnabled`,
    );
  // Once: as long as the file is there, its problems are.
  const news = count > 0 || open || records.list().length === 0;
  return { told: news ? [...problems, ...told] : [], open };
}
