import type { NetworkNamespace, NewRoute, Route } from '../../linux/network.js';
import { placeOf } from '../../linux/routes.js';

const TABLE_MAIN = 254;

/** Routes to one place, of tables that are read once: for hosts with routes by the thousand. */
export class Rivals {
  readonly #tables = new Map<number, Map<string, Route[]>>();
  readonly #changed = new Set<string>();

  constructor(private readonly own: NetworkNamespace) {}

  of(route: NewRoute): readonly Route[] {
    const table = route.table ?? TABLE_MAIN;
    const place = placeOf(route);
    if (this.#changed.delete(place)) this.#tables.delete(table);
    const known = this.#tables.get(table) ?? this.#read(table);
    return known.get(place) ?? [];
  }

  changed(route: NewRoute): void {
    this.#changed.add(placeOf(route));
  }

  #read(table: number): Map<string, Route[]> {
    const places = new Map<string, Route[]>();
    for (const route of this.own.routes({ table })) {
      const place = placeOf(route);
      places.set(place, [...(places.get(place) ?? []), route]);
    }
    this.#tables.set(table, places);
    return places;
  }
}
