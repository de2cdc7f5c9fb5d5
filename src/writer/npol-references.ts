/** Who refers to what, as VPP has it. */
const nobody: ReadonlySet<string> = new Set();

export class References {
  readonly #users = new Map<string, Set<string>>();
  readonly #used = new Map<string, ReadonlySet<string>>();
  /** To which nobody refers any more since somebody has looked. */
  readonly fallen = new Set<string>();

  users(key: string): ReadonlySet<string> {
    return this.#users.get(key) ?? nobody;
  }

  has(user: string): boolean {
    return this.#used.has(user);
  }

  /** It refers to these, and to no others. */
  set(user: string, keys: Iterable<string>): void {
    const before = this.#used.get(user) ?? nobody;
    const now = new Set(keys);
    this.#used.set(user, now);
    for (const key of now) this.#use(key, user);
    for (const key of before) if (!now.has(key)) this.#leave(key, user);
  }

  /** It may refer to these, too. */
  add(user: string, keys: Iterable<string>): void {
    this.set(user, [...(this.#used.get(user) ?? nobody), ...keys]);
  }

  forget(user: string): void {
    this.set(user, nobody);
    this.#used.delete(user);
  }

  /** What is looked at, of what nobody refers to: these, and what has fallen; both are empty then. One at a time, as it is asked for. */
  *idle(keys: Set<string>): Generator<string> {
    for (;;) {
      for (const key of this.fallen) keys.add(key);
      this.fallen.clear();
      const [key] = keys;
      if (key === undefined) return;
      keys.delete(key);
      if (this.users(key).size === 0) yield key;
    }
  }

  #use(key: string, user: string): void {
    const users = this.#users.get(key);
    if (users === undefined) this.#users.set(key, new Set([user]));
    else users.add(user);
  }

  #leave(key: string, user: string): void {
    const users = this.#users.get(key);
    users?.delete(user);
    if (users?.size !== 0) return;
    this.#users.delete(key);
    this.fallen.add(key);
  }

  clear(): void {
    this.#users.clear();
    this.#used.clear();
    this.fallen.clear();
  }
}
