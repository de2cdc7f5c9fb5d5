/**
 * What the parts of the node say of the input that they could not use, each in its own words, for /debug/sync. Called on the main thread with every
 * snapshot: a report is short work, and no more than some kilobytes.
 */
export class SyncReports {
  readonly #reports = new Map<string, () => unknown>();

  /** The last one under a name counts. */
  set(name: string, report: () => unknown): void {
    this.#reports.set(name, report);
  }

  /** By name. What a report throws is what it says. */
  all(): Readonly<Record<string, unknown>> {
    return Object.fromEntries(
      [...this.#reports].map(([name, report]) => {
        try {
          return [name, report()];
        } catch (error) {
          return [name, { error: (error as Error).message }];
        }
      }),
    );
  }
}
