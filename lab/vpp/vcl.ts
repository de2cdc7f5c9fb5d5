/** Application namespaces of VPP's host stack. No program ever attaches. */
import type { Interfaces } from './interfaces.js';
import { Death, refuse, retval } from './outcome.js';
import { Pool } from './pool.js';

interface Namespace {
  readonly id: string;
  socket: string;
  sw_if_index: number;
  /** Its socket could not be made. */
  half?: true;
}

const none = 0xffff_ffff;

export class AppNamespaces {
  readonly #pool = new Pool<Namespace>();
  #enabled = false;

  constructor(readonly interfaces: Interfaces) {}

  /** Where programs reach it by sockets, as VPP has it from the first. */
  enable(): void {
    if (this.#enabled) return;
    this.#enabled = true;
    this.#pool.add(() => ({ id: 'default', socket: '/run/vpp/app_ns_sockets/default', sw_if_index: none }));
  }

  /** Answers its number. */
  add(id: string, socket: string, sw_if_index: number): number {
    this.#needsEnabled();
    if (sw_if_index === none || this.interfaces.all.get(sw_if_index) === undefined) return refuse(not_told);
    const known = this.#find(id);
    if (known !== undefined) {
      known.one.sw_if_index = sw_if_index;
      return known.index;
    }
    let made = 0;
    const one: Namespace = { id, socket, sw_if_index };
    if (!this.#canListen(socket)) {
      one.half = true;
      one.sw_if_index = 0;
    }
    this.#pool.add((index) => {
      made = index;
      return one;
    });
    return one.half ? refuse(retval.UNSPECIFIED) : made;
  }

  remove(id: string): void {
    this.#needsEnabled();
    const known = this.#find(id);
    if (known === undefined) return refuse(not_told);
    if (known.one.half) throw new Death('half of an application namespace is removed');
    this.#pool.remove(known.index);
  }

  #needsEnabled(): void {
    if (!this.#enabled) refuse(retval.FEATURE_DISABLED);
  }

  #canListen(socket: string): boolean {
    if (/,netns_name=\/nowhere/.test(socket)) return false;
    return !this.#all().some(({ one }) => !one.half && one.socket === socket);
  }

  #find(id: string) {
    return this.#all().find(({ one }) => one.id === id);
  }

  #all(): { readonly index: number; readonly one: Namespace }[] {
    return Array.from({ length: this.#pool.end }, (_, index) => ({
      index,
      one: this.#pool.get(index),
    })).flatMap(({ index, one }) => (one === undefined ? [] : { index, one }));
  }

  /** `show app ns`, as a terminal shows it. */
  show(): string {
    if (!this.#enabled) return 'session layer is not enabled\n';
    const rows = [
      ['Index', 'Secret', 'Interface', 'Id', 'Socket'],
      ...this.#all().map(({ index, one }) => [
        `${index}`,
        '0',
        one.sw_if_index === none
          ? `DELETED (${none})`
          : (this.interfaces.all.get(one.sw_if_index)?.name ?? `DELETED (${one.sw_if_index})`),
        one.id,
        one.socket,
      ]),
    ];
    const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
    return rows
      .map((row, at) =>
        row
          .map((cell, column) => `${at === 0 ? '\x1b[33m' : ''}${cell.padEnd(widths[column]!)}\x1b[0m`)
          .join(' '),
      )
      .map((line) => `${line}\n`)
      .join('');
  }
}

/** SESSION_E_INVALID, as VPP's API hands it on. */
const not_told = -19;
