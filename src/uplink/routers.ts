/**
 * What the routers behind the uplinks have said, and what of it VPP tells the host again, on the tap, where no advertisement of theirs
 * arrives. VPP speaks in the name of one router per tap, so that the host has its default route through that one, and through another
 * when it is silent for too long. Prefixes are those of all. Time is given, in milliseconds of the node's clock.
 */
import {
  type AdvertisedPrefix,
  infinite_s,
  type RepeatedAdvertisement,
  type RouterAdvertisement,
} from '../ip/advertisement.js';

/** What anybody on the link can make up is bounded. */
const routers_max = 8;
const prefixes_max = 16;
/** VPP tells a prefix that is over as such, a few times at least. */
const farewell_ms = 600_000;

interface Router {
  lifetime_s: number;
  managed: boolean;
  other: boolean;
  /** Until then it is a default router. */
  until_ms: number;
}

interface Said extends AdvertisedPrefix {
  readonly said: number;
  readonly until_ms: number;
  readonly preferred_until_ms: number;
  /** VPP had it from an earlier life, and nobody has said it since. */
  readonly resumed?: true;
}

interface Link {
  readonly routers: Map<string, Router>;
  readonly prefixes: Map<string, Said>;
  /** In whose name VPP speaks. */
  speaker: string;
}

export class Routers {
  readonly #links = new Map<string, Link>();

  /** A router on the link of this uplink has spoken. */
  heard(uplink: string, advertisement: RouterAdvertisement, now_ms: number): void {
    const { router, lifetime_s, managed, other, prefixes } = advertisement;
    const link = this.#links.get(uplink) ?? { routers: new Map(), prefixes: new Map(), speaker: router };
    this.#links.set(uplink, link);
    if (!makeRoom(link.routers, router, routers_max, ({ until_ms }) => until_ms <= now_ms)) return;
    link.routers.set(router, { lifetime_s, managed, other, until_ms: now_ms + lifetime_s * 1000 });
    const isOver = ({ until_ms, resumed }: Said): boolean => resumed === true || until_ms <= now_ms;
    for (const each of prefixes) {
      // VPP has one prefix per address, whatever its length.
      const [address = ''] = each.prefix.split('/');
      const rival = link.prefixes.get(address);
      if (!isUsable(each) || (rival !== undefined && rival.prefix !== each.prefix && !isOver(rival)))
        continue;
      if (!makeRoom(link.prefixes, address, prefixes_max, isOver)) continue;
      link.prefixes.set(address, saidNow(each, (rival?.said ?? 0) + 1, now_ms));
    }
  }

  /** VPP has been saying this since an earlier life of this process. */
  resumed(uplink: string, advertisement: RouterAdvertisement, now_ms: number): void {
    if (this.#links.has(uplink)) return;
    this.heard(uplink, advertisement, now_ms);
    const { prefixes } = this.#links.get(uplink)!;
    for (const [address, prefix] of prefixes) prefixes.set(address, { ...prefix, resumed: true });
  }

  /** For another VPP, which counts lifetimes from when it is told of them: of what lives the rest is left, what is over nobody has heard of it. */
  anew(now_ms: number): void {
    for (const { prefixes } of this.#links.values())
      for (const [address, { until_ms, preferred_until_ms, ...prefix }] of prefixes) {
        const left = {
          ...prefix,
          valid_s: leftOf(until_ms, now_ms),
          preferred_s: leftOf(preferred_until_ms, now_ms),
        };
        if (left.valid_s === 0) prefixes.delete(address);
        else prefixes.set(address, saidNow(left, left.said, now_ms));
      }
  }

  /** By uplink, of those whose routers have been heard. */
  repeated(now_ms: number): ReadonlyMap<string, RepeatedAdvertisement> {
    return new Map([...this.#links].map(([uplink, link]) => [uplink, repeatedOf(link, now_ms)]));
  }

  /** When `repeated` changes next though nobody speaks; undefined: not at all. */
  nextChange_ms(now_ms: number): number | undefined {
    const ends = [...this.#links.values()].flatMap(({ routers, prefixes }) =>
      [
        ...[...routers.values()].map(({ until_ms }) => until_ms),
        ...[...prefixes.values()].map(({ until_ms }) => until_ms + farewell_ms),
      ].filter((until_ms) => until_ms > now_ms && Number.isFinite(until_ms)),
    );
    return ends.length === 0 ? undefined : Math.min(...ends);
  }
}

function repeatedOf(link: Link, now_ms: number): RepeatedAdvertisement {
  const living = [...link.routers].filter(([, { until_ms }]) => until_ms > now_ms);
  if (living.length > 0 && !living.some(([router]) => router === link.speaker)) link.speaker = living[0]![0];
  const lifetime_s = living.find(([router]) => router === link.speaker)?.[1].lifetime_s ?? 0;
  for (const [address, { until_ms }] of link.prefixes)
    if (until_ms + farewell_ms <= now_ms) link.prefixes.delete(address);
  return {
    router: link.speaker,
    lifetime_s,
    managed: living.some(([, { managed }]) => managed),
    other: living.some(([, { other }]) => other),
    prefixes: [...link.prefixes.values()].map(
      ({ until_ms: _, preferred_until_ms: __, resumed: ___, ...prefix }) => prefix,
    ),
  };
}

/** A link-local prefix is nobody's to give, one with contradicting lifetimes is ignored (RFC 4862, 5.5.3). */
function isUsable({ prefix, valid_s, preferred_s }: AdvertisedPrefix): boolean {
  return preferred_s <= valid_s && !/^fe[89ab]/i.test(prefix) && !/^ff/i.test(prefix);
}

function saidNow({ valid_s, preferred_s, ...prefix }: AdvertisedPrefix, said: number, now_ms: number): Said {
  const ends = { until_ms: endOf(valid_s, now_ms), preferred_until_ms: endOf(preferred_s, now_ms) };
  return { ...prefix, valid_s: counted(valid_s), preferred_s: counted(preferred_s), said, ...ends };
}

/** VPP does not count down what is infinite, nor ever again what once was: 136 years are told in its place. */
const counted = (lifetime_s: number): number => Math.min(lifetime_s, infinite_s - 1);

function endOf(lifetime_s: number, now_ms: number): number {
  return lifetime_s >= infinite_s - 1 ? Number.POSITIVE_INFINITY : now_ms + lifetime_s * 1000;
}

function leftOf(until_ms: number, now_ms: number): number {
  return Number.isFinite(until_ms) ? Math.max(0, Math.ceil((until_ms - now_ms) / 1000)) : infinite_s;
}

/** What is over gives its place away; what lives keeps it. */
function makeRoom<T>(map: Map<string, T>, key: string, max: number, isOver: (value: T) => boolean): boolean {
  if (map.has(key) || map.size < max) return true;
  const over = [...map].find(([, value]) => isOver(value));
  if (over === undefined) return false;
  map.delete(over[0]);
  return true;
}
