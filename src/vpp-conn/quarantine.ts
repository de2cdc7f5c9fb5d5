/**
 * Which subjects kill VPP. What was on its way to VPP when it died is suspect: a few subjects, since few messages are in flight.
 * A suspect is programmed alone, so that a second death convicts it and nobody else. Convicted, it is refused until what it
 * asks for changes: over a restart of this process, of VPP, and of the pod's sandbox.
 */
import * as v from 'valibot';
import type { Subject } from '../reconcile/transaction.js';

/** Was refused because VPP died twice of it. */
export class QuarantinedError extends Error {
  override readonly name = 'QuarantinedError';
  readonly code = 'quarantined';
}

export interface Suspect extends Subject {
  /** VPP had answered it when it died: how long one has to wait for the effect is not known. */
  readonly answered: boolean;
}

/** Where it is kept. Both throw when they cannot. */
export interface QuarantineFile {
  read(): string | undefined;
  write(text: string): void;
}

/** Deaths that convict. */
const deaths_max = 2;
/** More are not remembered: a VPP that dies under everything is not one subject's fault. */
const suspicions_max = 4096;

const suspicion = v.object({
  name: v.string(),
  content: v.string(),
  deaths: v.pipe(v.number(), v.integer(), v.minValue(1)),
  answered: v.boolean(),
});
const document = v.object({ version: v.literal(2), suspicions: v.array(suspicion) });

type Suspicion = v.InferOutput<typeof suspicion>;

export class Quarantine {
  readonly #file: QuarantineFile;
  /** By name and content: that a pod is added and that it is removed are two things, and so is what it was before a change. */
  readonly #suspicions = new Map<string, Suspicion>();
  /** Told when it cannot be kept: it then holds for this life of the process. */
  readonly #unwritable: (error: Error) => void;

  constructor(file: QuarantineFile, unwritable: (error: Error) => void) {
    this.#file = file;
    this.#unwritable = unwritable;
    for (const known of load(file)) this.#suspicions.set(keyOf(known), known);
  }

  /** VPP died while these were on their way, or just after. */
  accuse(suspects: readonly Suspect[]): void {
    for (const { name, content, answered } of suspects) {
      const key = keyOf({ name, content });
      const deaths = (this.#suspicions.get(key)?.deaths ?? 0) + 1;
      this.#suspicions.delete(key);
      this.#suspicions.set(key, { name, content, answered, deaths });
      if (this.#suspicions.size > suspicions_max) this.#forgetOldest();
    }
    if (suspects.length > 0) this.#save();
  }

  /** Whoever was a suspect once and never came again; of the convicted only when there are no others. */
  #forgetOldest(): void {
    const [first] = this.#suspicions.keys();
    const suspect = [...this.#suspicions].find(([, { deaths }]) => deaths < deaths_max)?.[0];
    this.#suspicions.delete(suspect ?? first!);
  }

  /** VPP did it and lived. */
  acquit(subject: Subject): void {
    const key = keyOf(subject);
    const known = this.#suspicions.get(key);
    if (known === undefined || known.deaths >= deaths_max) return;
    this.#suspicions.delete(key);
    this.#save();
  }

  /** `innocent` also when it asks for something else than what it is held for. */
  judge(subject: Subject): 'innocent' | 'suspect' | 'slow suspect' | 'convicted' {
    const known = this.#suspicions.get(keyOf(subject));
    if (known === undefined) return 'innocent';
    if (known.deaths >= deaths_max) return 'convicted';
    return known.answered ? 'slow suspect' : 'suspect';
  }

  /** Nobody is suspected: nothing has to be judged. */
  get empty(): boolean {
    return this.#suspicions.size === 0;
  }

  /** Names of the convicted. */
  list(): string[] {
    const convicted = [...this.#suspicions.values()].filter(({ deaths }) => deaths >= deaths_max);
    return [...new Set(convicted.map(({ name }) => name))];
  }

  #save(): void {
    try {
      this.#file.write(JSON.stringify({ version: 2, suspicions: [...this.#suspicions.values()] }));
    } catch (error) {
      this.#unwritable(error as Error);
    }
  }
}

function keyOf({ name, content }: Subject): string {
  return `${name}\n${content}`;
}

/** A file that cannot be read accuses nobody. */
function load(file: QuarantineFile): readonly Suspicion[] {
  try {
    const text = file.read();
    return text === undefined ? [] : v.parse(document, JSON.parse(text)).suspicions;
  } catch {
    return [];
  }
}
