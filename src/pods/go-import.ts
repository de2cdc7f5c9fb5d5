/** Pods of the Go implementation that are still there become ours; its file stays where it is. */

import { importGoState } from '../cni/go-state.js';
import { tablesOf } from '../desired/admission.js';
import type { PodNamespaces } from './pod-namespaces.js';
import type { PodRecords } from './pod-records.js';

/** Answers what there is to tell about it, a sentence each. */
export function takeOver(text: string, records: PodRecords, namespaces: PodNamespaces): string[] {
  const { specs, problems } = importGoState(text);
  const told = [...problems];
  let count = 0;
  for (const spec of specs) {
    const namespace = namespaces.of({ spec });
    if (namespace === undefined) continue;
    try {
      records.put({ phase: 'done', spec, tables: tablesOf(spec, count), namespace });
      count += 1;
    } catch (error) {
      told.push(`${spec.key}: re-create the pod: ${(error as Error).message}`);
    }
  }
  return [...told, `${count} pods taken over from the Go implementation`];
}
