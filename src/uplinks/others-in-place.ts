/** Has others prepare a VPP that is about to be given the uplinks, and waits for them. */
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../clock.js';
import type { UplinkMessage } from '../messages/uplink.js';
import { nodeFacts } from '../uplink/node-facts.js';
import { Preparation, type Prepared } from '../uplink/preparation.js';
import type { Others } from '../uplink/take-over-deps.js';
import type { Taken } from '../uplink/taken.js';
import type { UplinkSettings } from '../uplink/uplink-settings.js';

type Facts = Extract<UplinkMessage, { type: 'Prepared' }>['facts'];

export interface OthersDeps {
  readonly clock: Clock;
  /** What is known of VPP when it is asked. */
  readonly inVpp: () => Parameters<typeof nodeFacts>[2];
  readonly tellSelf: (message: Extract<UplinkMessage, { type: 'Prepared' | 'Made' }>) => void;
  readonly waitsFor: (what: string) => void;
  /** They are not waited for any longer. */
  readonly late: (generation: number, text: string) => void;
}

export class OthersInPlace implements Others {
  readonly #preparation: Preparation;
  /** As they were told of the VPP that is being prepared. */
  #facts: Facts | undefined;

  constructor(
    private readonly deps: OthersDeps,
    private readonly settings: Pick<
      UplinkSettings,
      'inputs' | 'prepared_by' | 'prepare_ms' | 'policed_by' | 'police_ms'
    >,
  ) {
    this.#preparation = new Preparation(deps.clock);
  }

  /** See Preparation. */
  inPlace(...of: Parameters<Preparation['inPlace']>): void {
    this.#preparation.inPlace(...of);
  }

  /** See Preparation. */
  news(): void {
    this.#preparation.news();
  }

  begin(): void {
    const { prepared_by, prepare_ms } = this.settings;
    this.#facts = undefined;
    this.#preparation.begin(prepared_by, prepare_ms);
  }

  /** Others are told where the facts are not those that they were told. */
  async prepare(generation: number, taken: Taken, signal: AbortSignal): Promise<Prepared> {
    const { prefixes: _, ...facts } = nodeFacts(taken, this.settings.inputs, this.deps.inVpp());
    if (!isDeepStrictEqual(facts, this.#facts)) {
      if (this.#facts !== undefined) this.#preparation.anew();
      this.#facts = facts;
      this.deps.tellSelf({ type: 'Prepared', generation, round: this.#preparation.round, facts });
    }
    return this.#wait(generation, this.settings.prepare_ms, signal);
  }

  async made(generation: number, signal: AbortSignal): Promise<void> {
    const { policed_by, police_ms } = this.settings;
    this.#preparation.begin(policed_by, police_ms);
    this.deps.tellSelf({ type: 'Made', generation, round: this.#preparation.round });
    while ((await this.#wait(generation, police_ms, signal)) === 'news');
  }

  async #wait(generation: number, limit_ms: number, signal: AbortSignal): Promise<Prepared> {
    const missing = (): string => this.#preparation.missing.join(' and ');
    this.deps.waitsFor(`${missing()} in VPP`);
    const outcome = await this.#preparation.wait(signal);
    if (outcome === 'late') {
      this.deps.late(
        generation,
        `VPP has not had all ${missing()} within ${limit_ms} ms, and gets its uplinks: what comes for the others meanwhile may be lost, or judged wrongly, for as long as it goes on`,
      );
    }
    return outcome;
  }
}
