/** Calico's selector language: which objects are meant, by their labels. Text to a predicate; nothing here throws. */

export type Labels = Readonly<Record<string, string>>;
export type Selector = (labels: Labels) => boolean;

export interface SelectorFault {
  /** Characters before the place, from 0. */
  readonly at: number;
  readonly cause: string;
}

export type ParsedSelector = { readonly matches: Selector } | { readonly fault: SelectorFault };

/** Longest text that is read; those of people have some hundred characters. */
export const selector_length_max = 16_384;
/** Parentheses inside parentheses. */
export const selector_depth_max = 64;
/** As Calico has it. */
const label_length_max = 512;

const everything: Selector = () => true;

/** Thrown and caught in this file alone. */
class Refused extends Error {
  constructor(
    readonly at: number,
    message: string,
  ) {
    super(message);
  }
}

/** Comparisons with one value. A label that is not there equals nothing. */
const comparisons: Readonly<Record<string, (label: string, value: string) => Selector>> = {
  '==': (label, value) => (labels) => labelValue(labels, label) === value,
  '!=': (label, value) => (labels) => labelValue(labels, label) !== value,
  contains: (label, value) => (labels) => labelValue(labels, label)?.includes(value) ?? false,
  'starts with': (label, value) => (labels) => labelValue(labels, label)?.startsWith(value) ?? false,
  'ends with': (label, value) => (labels) => labelValue(labels, label)?.endsWith(value) ?? false,
};

/** The operators as they are spelled: words of two parts may stand together or apart, and no character of a label may follow. */
const operators: readonly (readonly [RegExp, string])[] = [
  [/==/y, '=='],
  [/!=/y, '!='],
  [/contains(?![\w./-])/y, 'contains'],
  [/starts[ \t]*with(?![\w./-])/y, 'starts with'],
  [/ends[ \t]*with(?![\w./-])/y, 'ends with'],
  [/not[ \t]*in(?![\w./-])/y, 'not in'],
  [/in(?![\w./-])/y, 'in'],
];

/** Not `labels[name]`: `constructor` is no label of everything. */
function labelValue(labels: Labels, name: string): string | undefined {
  return Object.hasOwn(labels, name) ? labels[name] : undefined;
}

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Selector {
    this.#skipSpace();
    if (this.#at === this.#text.length) return everything;
    const selector = this.#either();
    if (this.#at < this.#text.length) this.#refuse(`expected && or ||, found ${this.#found()}`);
    return selector;
  }

  #either(): Selector {
    const parts = [this.#both()];
    while (this.#take('||')) parts.push(this.#both());
    return parts.length === 1 ? parts[0]! : (labels) => parts.some((part) => part(labels));
  }

  #both(): Selector {
    const parts = [this.#negated()];
    while (this.#take('&&')) parts.push(this.#negated());
    return parts.length === 1 ? parts[0]! : (labels) => parts.every((part) => part(labels));
  }

  #negated(): Selector {
    let negated = false;
    while (this.#take('!')) negated = !negated;
    const primary = this.#primary();
    return negated ? (labels) => !primary(labels) : primary;
  }

  #primary(): Selector {
    if (this.#take('(')) {
      this.#depth += 1;
      if (this.#depth > selector_depth_max) this.#refuse(`more than ${selector_depth_max} parentheses deep`);
      const inner = this.#either();
      this.#expect(')');
      this.#depth -= 1;
      return inner;
    }
    if (this.#match(/(?:all|global)\([ \t]*\)/y)) return everything;
    if (this.#take('has(')) {
      const label = this.#label();
      this.#expect(')');
      return (labels) => Object.hasOwn(labels, label);
    }
    return this.#comparison(this.#label());
  }

  #comparison(label: string): Selector {
    for (const [pattern, name] of operators) {
      if (this.#match(pattern) === undefined) continue;
      const compare = comparisons[name];
      if (compare !== undefined) return compare(label, this.#string());
      const values = this.#set();
      const negated = name === 'not in';
      return (labels) => {
        const value = labelValue(labels, label);
        return (value !== undefined && values.has(value)) !== negated;
      };
    }
    return this.#refuse(
      `expected ==, !=, in, not in, contains, starts with or ends with behind the label ${label}, found ${this.#found()}`,
    );
  }

  #label(): string {
    const label = this.#match(/[\w./-]+/y);
    if (label === undefined) return this.#refuse(`expected a label, found ${this.#found()}`);
    if (label.length > label_length_max) this.#refuse(`a label of more than ${label_length_max} characters`);
    return label;
  }

  #string(): string {
    const quoted = this.#match(/'[^']*'|"[^"]*"/y);
    if (quoted === undefined) return this.#refuse(`expected a value in quotes, found ${this.#found()}`);
    return quoted.slice(1, -1);
  }

  #set(): ReadonlySet<string> {
    const values = new Set<string>();
    this.#expect('{');
    while (!this.#take('}')) {
      values.add(this.#string());
      if (this.#take(',')) continue;
      this.#expect('}');
      break;
    }
    return values;
  }

  #skipSpace(): void {
    while (this.#text[this.#at] === ' ' || this.#text[this.#at] === '\t') this.#at += 1;
  }

  #take(token: string): boolean {
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    this.#skipSpace();
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) return undefined;
    this.#at += found.length;
    this.#skipSpace();
    return found;
  }

  #expect(token: string): void {
    if (!this.#take(token)) this.#refuse(`expected ${token}, found ${this.#found()}`);
  }

  #found(): string {
    const rest = this.#text.slice(this.#at, this.#at + 20);
    return rest === '' ? 'the end' : JSON.stringify(rest);
  }

  #refuse(cause: string): never {
    throw new Refused(this.#at, cause);
  }
}

/** Reads a selector. An empty one matches everything, as in Calico. */
export function parseSelector(text: string): ParsedSelector {
  if (text.length > selector_length_max)
    return { fault: { at: selector_length_max, cause: `longer than ${selector_length_max} characters` } };
  try {
    return { matches: new Parser(text).whole() };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { fault: { at: error.at, cause: error.message } };
  }
}
