/** The parts of the endpoint, in the thread that serves it. Imported only where metrics are on: what writes them takes memory. */
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { Clock } from '../clock.js';
import type { MetricsSetup } from '../debug/protocol.js';
import type { Source } from '../debug/routes.js';
import { SegmentFile } from '../stats/segment-file.js';
import { StatsReader } from '../stats/stats-reader.js';
import { Scraper } from './scraper.js';
import { metricsServer } from './server.js';

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Nobody has started a VPP yet.
    return undefined;
  }
}

/** VPP's segment is read in this thread; what only the main thread knows has its deadline. The server still has to listen. */
export function metricsEndpoint(setup: MetricsSetup, source: Source, clock: Clock): Server {
  const { startup_config, legacy_prefix, per_worker } = setup;
  const scraper = new Scraper(
    {
      source,
      stats: new StatsReader({ open: (pid) => SegmentFile.open(pid), clock }),
      startupFile: () => textOf(startup_config),
      clock,
      node_version: process.versions.node,
      // A thread has a time origin of its own; the uptime is that of the process.
      started_s: clock.wall_ms() / 1000 - process.uptime(),
    },
    { per_worker, ...(legacy_prefix !== undefined && { legacy_prefix }) },
  );
  return metricsServer((format) => scraper.scrape(format));
}
