/**
 * IPsec beside what VPP holds for it: the key that nodes share, how each tunnel is, and what is to be done where one does not come up. Pure, but for
 * asking for the key.
 */
import type { Secret } from '../config/secret.js';
import { beginsIke, type IpsecSettings } from '../desired/remote-route.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { IkeEnds, IkeTunnelState } from '../vpp-conn/observe/ipsec.js';

export interface IpsecParts {
  /** The key that all nodes share. Throws with the cause, never with what it has read. */
  readonly key: () => Secret;
  /** What is asked for and not done, why, and the step to take. */
  readonly not_done?: string;
}

/**
 * From a tunnel's going down until IKE begins anew with it, doubled each time: VPP says so again by itself every 2 s, but for an answer that it could not
 * use, or after the other node has taken its leave.
 */
const renew_ms = 10_000;
const renew_max_ms = 60_000;
/**
 * After so long what a tunnel carries is encrypted with other keys. VPP by itself never does that, or by a lifetime, and then loses packets. Not before the
 * last ones are forgotten, about 10 s: VPP would be left without any.
 */
const rekey_ms = 3_600_000;
/** Until then it has them: it asks once, and one end that has the new keys alone is lost to the other one. */
const rekeyed_ms = 5000;
/** What is down for so long need not be seen to come up at once. */
const patient_ms = 60_000;
const status_max = 1000;

interface Seen {
  readonly ends: IkeEnds;
  state: IkeTunnelState;
  /** When it was seen to be so first. */
  since_ms: number;
  renewals: number;
  /** When it begins anew, if it is down by then; when it has other keys, if it is up. */
  due_ms: number;
  /** The keys that it is not to have any more by `due_ms`. */
  replaced?: number | undefined;
}

/** What follows from how the tunnels are. */
export interface IkeOutcome {
  readonly up: readonly InterfaceTag[];
  /** VPP has taken them away. */
  readonly gone: readonly InterfaceTag[];
  /** By their far ends: begin anew. */
  readonly renew: readonly string[];
  /** They are not encrypted: nothing may go by them. */
  readonly take_down: readonly InterfaceTag[];
  /** These keys are to be replaced. */
  readonly rekey: readonly number[];
}

export class IkeTunnels {
  readonly #parts: IpsecParts | undefined;
  #psk: Secret | undefined;
  #psk_version = 0;
  #fault: string | undefined;
  readonly #seen = new Map<InterfaceTag, Seen>();

  /** `parts` absent: nothing is encrypted by IPsec. */
  constructor(parts: IpsecParts | undefined) {
    this.#parts = parts;
    this.readKey();
  }

  /** Asks for the key: it may be another one by now. True: it is. */
  readKey(): boolean {
    if (this.#parts === undefined) return false;
    try {
      const psk = this.#parts.key();
      this.#fault = undefined;
      if (this.#psk?.equals(psk)) return false;
      this.#psk = psk;
      this.#psk_version += 1;
      for (const seen of this.#seen.values()) if (seen.state.state !== 'up') seen.due_ms = 0;
      return true;
    } catch (error) {
      // What was the key before is it until there is another one.
      this.#fault = (error as Error).message;
      return false;
    }
  }

  get settings(): IpsecSettings | undefined {
    if (this.#parts === undefined) return undefined;
    return { psk_version: this.#psk_version, ...(this.#psk && { psk: this.#psk }) };
  }

  /** Something is to be looked at. */
  get is_used(): boolean {
    return this.#parts !== undefined;
  }

  /** One of them has no SA, as far as was seen, and not for long yet. */
  waits(now_ms: number): boolean {
    for (const { state, since_ms } of this.#seen.values())
      if (state.state !== 'up' && now_ms - since_ms < patient_ms) return true;
    return false;
  }

  /** What VPP is to be asked of each of them. */
  *asks(wanted: Iterable<IkeEnds>, now_ms: number): Iterable<IkeEnds> {
    for (const { tag, src, dst } of wanted) {
      const seen = this.#seen.get(tag);
      const is_due = seen?.state.state === 'up' && now_ms >= seen.due_ms && beginsIke({ src, dst });
      yield { tag, src, dst, ...(is_due && { needs_spi: true }) };
    }
  }

  /** Of another VPP nothing is known. */
  forget(): void {
    this.#seen.clear();
  }

  /** `wanted`: all that there should be; `states`: of those that VPP was asked about; `isMade`: VPP was given it, as far as is known. */
  see(
    wanted: Iterable<IkeEnds>,
    states: readonly IkeTunnelState[],
    now_ms: number,
    isMade: (tag: InterfaceTag) => boolean,
  ): IkeOutcome {
    const ends = new Map([...wanted].map((each) => [each.tag, each]));
    for (const tag of this.#seen.keys()) if (!ends.has(tag)) this.#seen.delete(tag);
    const outcome = {
      up: [] as InterfaceTag[],
      gone: [] as InterfaceTag[],
      renew: [] as string[],
      take_down: [] as InterfaceTag[],
      rekey: [] as number[],
    };
    for (const state of states) {
      const of = ends.get(state.tag);
      if (of === undefined) continue;
      // Nobody has taken it away: VPP does not have it yet, or refuses it.
      if (state.state === 'gone' && !isMade(state.tag)) {
        this.#seen.delete(state.tag);
        continue;
      }
      const seen = this.#note(of, state, now_ms);
      if (state.state === 'up') outcome.up.push(state.tag);
      if (state.state === 'gone') outcome.gone.push(state.tag);
      if (state.state === 'clear') {
        outcome.take_down.push(state.tag);
        outcome.renew.push(of.dst);
      }
      if (now_ms < seen.due_ms || !beginsIke(of)) continue;
      if (state.state === 'down') this.#renew(seen, now_ms, outcome.renew);
      else if (state.state === 'up') this.#rekey(seen, now_ms, outcome);
    }
    return outcome;
  }

  #renew(seen: Seen, now_ms: number, renew: string[]): void {
    seen.renewals += 1;
    seen.due_ms = now_ms + Math.min(renew_ms * 2 ** seen.renewals, renew_max_ms);
    renew.push(seen.ends.dst);
  }

  #rekey(seen: Seen, now_ms: number, outcome: { readonly renew: string[]; readonly rekey: number[] }): void {
    const { spi } = seen.state;
    // It was not asked for yet, or what has been seen was between two SAs: at the next look.
    if (spi === undefined) return;
    if (spi === seen.replaced) outcome.renew.push(seen.ends.dst);
    const is_due = seen.replaced === undefined;
    if (is_due) outcome.rekey.push(spi);
    seen.replaced = is_due ? spi : undefined;
    seen.due_ms = now_ms + (is_due ? rekeyed_ms : rekey_ms);
  }

  #note(ends: IkeEnds, state: IkeTunnelState, now_ms: number): Seen {
    const before = this.#seen.get(state.tag);
    if (before !== undefined && before.state.state === state.state && before.ends.src === ends.src) {
      before.state = state;
      return before;
    }
    const renewals = state.state === 'up' ? 0 : (before?.renewals ?? 0);
    const wait_ms = state.state === 'up' ? rekey_ms : Math.min(renew_ms * 2 ** renewals, renew_max_ms);
    const seen = { ends, state, since_ms: now_ms, renewals, due_ms: now_ms + wait_ms };
    this.#seen.set(state.tag, seen);
    return seen;
  }

  // --- for people

  get fault_count(): number {
    return (this.#fault === undefined ? 0 : 1) + (this.#parts?.not_done === undefined ? 0 : 1);
  }

  /** By object, what is wrong with it and what to do. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    if (this.#parts?.not_done !== undefined) yield ['CALICOVPP_IPSEC', this.#parts.not_done];
    if (this.#fault === undefined) return;
    const so_far =
      this.#psk === undefined
        ? 'what VPP has of before goes on with the key that it has, and no other tunnel to a node comes up'
        : 'the key is that of before';
    yield ['IPsec', `${this.#fault}; until it can be read ${so_far}`];
  }

  /** Of each tunnel how it is, and where it is not up, why and what to do. By the address of the other node, so many of them. */
  status(wanted: Iterable<IkeEnds>, now_ms: number): Readonly<Record<string, string>> {
    const status: Record<string, string> = {};
    let left = status_max;
    for (const ends of wanted) {
      if (left === 0) break;
      left -= 1;
      status[ends.dst] = this.#statusOf(ends, now_ms);
    }
    return status;
  }

  #statusOf(ends: IkeEnds, now_ms: number): string {
    const seen = this.#seen.get(ends.tag);
    if (seen === undefined) return 'not in VPP yet: see what is refused';
    const { state, since_ms } = seen;
    const seconds = Math.floor((now_ms - since_ms) / 1000);
    if (state.state === 'up') return `up for ${seconds} s`;
    const key = 'see that both nodes have the same key (CALICOVPP_IPSEC_IKEV2_PSK) and ipsecEnabled';
    if (state.state === 'clear') return 'VPP has no keys for it: it is taken down, and made anew';
    if (state.state === 'gone')
      return `VPP has taken the tunnel away, as when the other node has another key, and it is made anew: ${key}`;
    const since = `no SA for ${seconds} s`;
    if (!beginsIke(ends))
      return `${since}, with which the other node, whose address is higher, begins: see there, and ${key.slice(4)}`;
    if (state.has_sa) return `${since}: the other node has answered, and nothing came of it: ${key}`;
    return `${since}: the other node does not answer: see that UDP ports 500 and 4500 and IP protocol 50 pass between the nodes, and ${key.slice(4)}`;
  }
}
