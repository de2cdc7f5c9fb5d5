/**
 * VPP held by many owners, at a hundred thousand objects: what each change costs, and what it costs those who wait meanwhile.
 *
 * - Programming: from the first route that is wanted to the last outcome that is settled, beside a bare client; the delay is that of a
 *   timer of one millisecond in the owner's process, the longest block its greatest; heap is what lives, after a collection.
 * - Changes: CPU of the model alone, and of all of it with the API client; an adoption is a reading and its compare; churn is
 *   a thousand objects added, replaced and removed until a hundred thousand changes are done.
 * - Node: ADDs as the caller sees them; RSS as the kernel has it.
 */
import { findRealVpp, startRealVpp } from '../lab/real-vpp.js';
import { CannotRun, type Report } from './figures.js';
import { Connection } from './owner.js';
import { benchChanges } from './scale-changes.js';
import { benchNode } from './scale-node.js';
import { benchProgramming } from './scale-programming.js';

export async function bench(report: Report): Promise<void> {
  const found = findRealVpp();
  if (!found.usable) throw new CannotRun(found.why);
  const vpp = await startRealVpp(found);
  try {
    const connection = await Connection.open(vpp.api_socket);
    await benchProgramming(connection, vpp.api_socket, report);
    await benchChanges(connection, report);
    await connection.close();
  } finally {
    await vpp.stop();
  }
  await benchNode(report);
}
