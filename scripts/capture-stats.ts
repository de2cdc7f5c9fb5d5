/**
 * Writes the stats segment of a running VPP to a file of some kilobytes, for test/stats/fixtures: what metrics are made of, and one
 * entry of each other kind that this VPP has.
 *
 *     node out/scripts/capture-stats.js PID FILE
 */
import { writeFileSync } from 'node:fs';
import { addSegment } from '../src/metrics/from-segment.js';
import { legacyFamilies } from '../src/metrics/legacy.js';
import { Samples } from '../src/metrics/samples.js';
import { SegmentFile } from '../src/stats/segment-file.js';
import { packSegment } from '../test/kit/stats-fixture.js';

const [pid, file] = process.argv.slice(2);
if (file === undefined || !/^\d+$/.test(pid ?? '')) {
  process.stderr.write('usage: capture-stats PID FILE\n');
  process.exit(2);
}
const segment = SegmentFile.open(Number(pid));
const context = { pods: new Map(), per_worker: false };
writeFileSync(
  file,
  packSegment(segment, (view) => {
    addSegment(view, context, new Samples());
    legacyFamilies(view, context, '');
    for (const name of view.names.keys()) if (name.startsWith('/sys/')) view.value(name);
  }),
);
segment.close();
