/** What a stand-in API server does wrong, as data. */

export type Verb = 'discovery' | 'get' | 'list' | 'watch' | 'write';

export type Misdeed =
  /** Closes the connection without an answer. */
  | { readonly type: 'refuse' }
  /** Never answers. */
  | { readonly type: 'silent' }
  | { readonly type: 'status'; readonly code: number; readonly retry_after_s?: number }
  /** Of a watch: success, and then an event that says otherwise. */
  | { readonly type: 'error-event'; readonly code: number }
  /** Closes the connection when so many bytes of the body are sent, in the middle of whatever they are. */
  | { readonly type: 'cut'; readonly after_bytes: number }
  /** Sends no more than so many bytes of the body, and keeps the connection. */
  | { readonly type: 'stall'; readonly after_bytes: number }
  /** Of a watch: ends it in order after so many events. */
  | { readonly type: 'end'; readonly after_events: number }
  /** Begins the body with this. */
  | { readonly type: 'say'; readonly text: string }
  /** Begins the body with one line of so many bytes. */
  | { readonly type: 'long-line'; readonly bytes: number }
  /** Sends the body in pieces of so many bytes. */
  | { readonly type: 'pieces'; readonly bytes: number }
  /** Sends a list whole, whatever was asked. */
  | { readonly type: 'no-paging' }
  /** Says that the token of the next page has expired. */
  | { readonly type: 'expired-page' }
  | { readonly type: 'no-bookmarks' };

export interface Fault {
  readonly verb: Verb;
  /** All kinds when absent. */
  readonly plural?: string;
  /** Requests that pass before the first one that it befalls. */
  readonly after?: number;
  /** Requests that it befalls; all when absent. */
  readonly times?: number;
  readonly does: Misdeed;
}

/** The faults that a server has, and what is left of each. */
export class Faults {
  readonly #armed: { readonly fault: Fault; after: number; times: number }[] = [];

  add(fault: Fault): void {
    this.#armed.push({ fault, after: fault.after ?? 0, times: fault.times ?? Number.POSITIVE_INFINITY });
  }

  clear(): void {
    this.#armed.length = 0;
  }

  /** What befalls this request. */
  take(verb: Verb, plural: string): readonly Misdeed[] {
    return this.#armed.flatMap((armed) => {
      const { fault } = armed;
      if (fault.verb !== verb || (fault.plural ?? plural) !== plural || armed.times === 0) return [];
      if (armed.after > 0) {
        armed.after -= 1;
        return [];
      }
      armed.times -= 1;
      return fault.does;
    });
  }
}
