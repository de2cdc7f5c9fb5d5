/** Answers a scrape from what is known at that moment: in bounded time, also while VPP or the main loop is away. */
import type { Clock } from '../clock.js';
import { BLOCKED_MS } from '../debug/health.js';
import type { SectionName, Sections } from '../debug/protocol.js';
import type { Source } from '../debug/routes.js';
import type { NamedTranslations } from '../services/service-names.js';
import type { Reading, StatsReader } from '../stats/stats-reader.js';
import { sections as startupSections } from '../vpp-conn/startup-sections.js';
import { type Exposition, exposition, type Format } from './exposition.js';
import type { Figures } from './figures.js';
import { addNode, podInterfaces, vppAnswers, vppPid } from './from-node.js';
import { addSegment } from './from-segment.js';
import { legacyFamilies } from './legacy.js';
import { type Family, Samples } from './samples.js';
import { ServiceConnections, type TranslationCounters, translationCounters } from './service-connections.js';

export interface ScraperSettings {
  /** Of the Go implementation's names; absent: they are not served. */
  readonly legacy_prefix?: string;
  /** Counters of interfaces by thread of VPP. */
  readonly per_worker: boolean;
}

export interface ScraperDeps {
  readonly source: Source;
  readonly stats: StatsReader;
  /** Of VPP, as it was started last; undefined where it cannot be read. */
  readonly startupFile: () => string | undefined;
  readonly clock: Clock;
  readonly node_version: string;
  /** When the process started, in seconds since 1970. */
  readonly started_s: number;
}

/** Several that scrape at the same time cost what one costs. */
export const cached_ms = 1000;

interface Segment {
  readonly samples: Samples;
  readonly translations: TranslationCounters | undefined;
  readonly legacy: readonly Family[];
}

interface Asked {
  readonly figures?: Figures;
  readonly names?: NamedTranslations | undefined;
}

export class Scraper {
  readonly #deps: ScraperDeps;
  readonly #settings: ScraperSettings;
  readonly #connections: ServiceConnections;
  #last: { readonly at_ms: number; readonly families: Promise<readonly Family[]> } | undefined;

  constructor(deps: ScraperDeps, settings: ScraperSettings) {
    this.#deps = deps;
    this.#settings = settings;
    this.#connections = new ServiceConnections(deps.clock.wall_ms() / 1000);
  }

  async scrape(format: Format): Promise<Exposition> {
    const now_ms = this.#deps.clock.now_ms();
    if (this.#last === undefined || now_ms - this.#last.at_ms >= cached_ms)
      this.#last = { at_ms: now_ms, families: this.#gather(now_ms) };
    return exposition(await this.#last.families, format);
  }

  #content<K extends SectionName>(name: K): Sections[K] | undefined {
    const section = this.#deps.source.section(name);
    return section !== undefined && 'value' in section ? section.value : undefined;
  }

  /** What the main thread says; undefined where it does not in time. One that is known to be blocked is not asked. */
  async #asked(): Promise<Asked> {
    const { source } = this.#deps;
    if (source.silent_ms() > BLOCKED_MS) return {};
    const [, figures, names] = await Promise.all([
      source.ask({ type: 'refresh', sections: ['tree', 'health', 'runtime'] }),
      source.ask({ type: 'figures' }),
      source.ask({ type: 'serviceNames', version: this.#connections.version }),
    ]);
    return {
      ...(figures.ok && { figures: JSON.parse(figures.text) as Figures }),
      ...(names.ok && { names: (JSON.parse(names.text) as NamedTranslations | null) ?? undefined }),
    };
  }

  async #gather(began_ms: number): Promise<readonly Family[]> {
    const { source, stats, clock, node_version, started_s } = this.#deps;
    const { figures, names } = await this.#asked();
    if (names !== undefined) this.#connections.learn(names);
    const [tree, health, runtime] = [
      this.#content('tree'),
      this.#content('health'),
      this.#content('runtime'),
    ];
    const pid = vppPid(tree);
    const context = { pods: podInterfaces(tree), per_worker: this.#settings.per_worker };
    const { legacy_prefix } = this.#settings;
    const reading: Reading<Segment> = await stats.read(pid, (view) => {
      const samples = new Samples();
      addSegment(view, context, samples);
      return {
        samples,
        // Counted once the reading is known to be good.
        translations: translationCounters(view),
        legacy: legacy_prefix === undefined ? [] : legacyFamilies(view, context, legacy_prefix),
      };
    });

    // Begun with what VPP says, so that none of it is there without VPP.
    const samples = reading.ok ? reading.value.samples : new Samples();
    const counters = reading.ok && names !== undefined ? reading.value.translations : undefined;
    if (counters !== undefined && this.#connections.read(pid, counters)) this.#connections.addTo(samples);
    const silent_ms = source.silent_ms();
    const process = source.process();
    addNode(
      {
        facts: source.facts,
        node_version,
        process: {
          cpu_s: Number(process.cpu_s),
          rss_bytes: Number(process.rss_bytes),
          open_files: Number(process.open_files),
          started_s,
        },
        blocked_ms: silent_ms > BLOCKED_MS ? silent_ms : 0,
        health,
        tree,
        runtime,
        figures,
      },
      samples,
    );
    const is_dead = pid === 0 || (!reading.ok && reading.is_dead);
    samples.add('calicovpp_vpp_up', vppAnswers(health) && !is_dead ? 1 : 0);
    samples.add('calicovpp_vpp_stats_retries_total', stats.retries);
    if (reading.ok) {
      samples.add('calicovpp_vpp_stats_read_seconds', reading.took_ms / 1000);
      samples.add('calicovpp_vpp_stats_faults', reading.faults.count);
      samples.add('calicovpp_cnat_sessions_max', sessionMax(this.#deps.startupFile()));
    }
    for (const [name, known] of Object.entries({ tree, figures, stats: reading.ok || undefined }))
      samples.add('calicovpp_scrape_stale', known === undefined ? 1 : 0, { source: name });
    samples.add('calicovpp_scrape_seconds', (clock.now_ms() - began_ms) / 1000);
    return [...samples.families(), ...(reading.ok ? reading.value.legacy : [])];
  }
}

/** `session-max` of the section cnat. */
export function sessionMax(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const cnat = startupSections(text).find(({ name }) => name === 'cnat');
  if (cnat === undefined) return undefined;
  const [, number] = /\bsession-max\s+(\d+)/.exec(text.slice(cnat.body_start, cnat.body_end)) ?? [];
  return number === undefined ? undefined : Number(number);
}
