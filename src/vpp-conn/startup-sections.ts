/** A start-up file of VPP as it is written: its sections, their words, and lines that are added to it. Pure. */

/** One top-level entry of a start-up file: `name { body }`. Offsets are into the text. */
export interface Section {
  readonly name: string;
  /** Of its name. */
  readonly start: number;
  readonly body_start: number;
  readonly body_end: number;
}

/** The file is words, braces and comments from # to the end of the line, as VPP's own reader takes it. */
const token = /#[^\n\r]*|[{}]|[^\s{}#]+/g;

/** Top-level sections in order. An unclosed one is left out: VPP will say where. */
export function sections(text: string): readonly Section[] {
  const found: Section[] = [];
  let depth = 0;
  let word = { name: '', start: 0 };
  let open: Omit<Section, 'body_end'> | undefined;
  for (const { 0: piece, index } of text.matchAll(token)) {
    if (piece.startsWith('#')) continue;
    if (piece === '{') {
      if (depth++ === 0) open = { ...word, body_start: index + 1 };
    } else if (piece === '}') {
      if (--depth === 0 && open) found.push({ ...open, body_end: index });
      depth = Math.max(depth, 0);
    } else word = { name: piece, start: index };
  }
  return found;
}

/** Words and braces of a section with their places, without comments. */
export function tokensOf(
  text: string,
  { body_start, body_end }: Pick<Section, 'body_start' | 'body_end'>,
): readonly { readonly word: string; readonly at: number }[] {
  return [...text.slice(body_start, body_end).matchAll(token)]
    .filter(([piece]) => !piece.startsWith('#'))
    .map(({ 0: word, index }) => ({ word, at: body_start + index }));
}

export const sectionOf = (text: string, name: string): Section | undefined =>
  sections(text).find((section) => section.name === name);

/** The words of a section, without comments; inner braces are words too. */
export function wordsOf(text: string, section: Section): string[] {
  return tokensOf(text, section).map(({ word }) => word);
}

export function wordsIn(text: string, name: string): string[] {
  const section = sectionOf(text, name);
  return section ? wordsOf(text, section) : [];
}

export const valueIn = (words: readonly string[], key: string): string | undefined => {
  const at = words.indexOf(key);
  return at < 0 ? undefined : words[at + 1];
};

/** A change that was made to a user's template, for the log. */
export interface Addition {
  readonly section: string;
  readonly text: string;
  readonly why: string;
}

export interface StartupConfig {
  readonly text: string;
  readonly added: readonly Addition[];
  readonly warnings: readonly string[];
}

/** Inserts one line at the start of a section. */
export function insertLine(
  config: StartupConfig,
  section: Section,
  line: string,
  why: string,
): StartupConfig {
  const { text } = config;
  return {
    ...config,
    text: `${text.slice(0, section.body_start)}\n  ${line}${text.slice(section.body_start)}`,
    added: [...config.added, { section: section.name, text: line, why }],
  };
}
