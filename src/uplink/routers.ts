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
    for (const each of prefixes) {
      if (!isUsable(each)) continue;
      if (!makeRoom(link.prefixes, each.prefix, prefixes_max, ({ until_ms }) => until_ms <= now_ms)) continue;
      const said = (link.prefixes.get(each.prefix)?.said ?? 0) + 1;
      link.prefixes.set(each.prefix, { ...each, said, until_ms: endOf(each, now_ms) });
    }
  }

  /** VPP has been saying this since an earlier life of this process. */
  resumed(uplink: string, advertisement: RouterAdvertisement, now_ms: number): void {
    if (!this.#links.has(uplink)) this.heard(uplink, advertisement, now_ms);
  }

  /** By uplink, of those whose routers have been heard. */
  repeated(now_ms: number): ReadonlyMap<string, RepeatedAdvertisement> {
    return new Map([...this.#links].map(([uplink, link]) => [uplink, repeatedOf(link, now_ms)]));
  }

  /** When `repeated` changes next though nobody speaks; undefined: not at all. */
  nextChange_ms(now_ms: number): number | undefined {
    const ends = [...this.#links.values()].flatMap(({ routers }) =>
      [...routers.values()].map(({ until_ms }) => until_ms).filter((until_ms) => until_ms > now_ms),
    );
    return ends.length === 0 ? undefined : Math.min(...ends);
  }
}

function repeatedOf(link: Link, now_ms: number): RepeatedAdvertisement {
  const living = [...link.routers].filter(([, { until_ms }]) => until_ms > now_ms);
  if (living.length > 0 && !living.some(([router]) => router === link.speaker)) link.speaker = living[0]![0];
  const lifetime_s = living.find(([router]) => router === link.speaker)?.[1].lifetime_s ?? 0;
  const all = [...link.routers.values()];
  return {
    router: link.speaker,
    lifetime_s,
    managed: all.some(({ managed }) => managed),
    other: all.some(({ other }) => other),
    prefixes: [...link.prefixes.values()].map(({ until_ms: _, ...prefix }) => prefix),
  };
}

/** A link-local prefix is nobody's to give, one with contradicting lifetimes is ignored (RFC 4862, 5.5.3). */
function isUsable({ prefix, valid_s, preferred_s }: AdvertisedPrefix): boolean {
  return preferred_s <= valid_s && !/^fe[89ab]/i.test(prefix) && !/^ff/i.test(prefix);
}

function endOf({ valid_s }: AdvertisedPrefix, now_ms: number): number {
  return valid_s === infinite_s ? Number.POSITIVE_INFINITY : now_ms + valid_s * 1000;
}

/** What is over gives its place away; what lives keeps it. */
function makeRoom<T>(map: Map<string, T>, key: string, max: number, isOver: (value: T) => boolean): boolean {
  if (map.has(key) || map.size < max) return true;
  const over = [...map].find(([, value]) => isOver(value));
  if (over === undefined) return false;
  map.delete(over[0]);
  return true;
}
