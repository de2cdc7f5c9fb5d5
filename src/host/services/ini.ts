/** The files of systemd and NetworkManager: sections of lines, comments and blanks left out. Pure. */

export interface IniSection {
  readonly name: string;
  readonly lines: readonly string[];
}

/** A section that stands there twice is told twice. What comes before the first is in none. */
export function iniSections(text: string): IniSection[] {
  const found: { name: string; lines: string[] }[] = [];
  for (const line of text.split('\n')) {
    const header = /^\s*\[([^\]]*)\]\s*$/.exec(line);
    if (header) found.push({ name: header[1]!, lines: [] });
    else if (!/^\s*([#;]|$)/.test(line)) found.at(-1)?.lines.push(line.trim());
  }
  return found;
}

export function iniText(sections: readonly IniSection[]): string {
  return sections
    .map(({ name, lines }) => `[${name}]\n${lines.map((line) => `${line}\n`).join('')}`)
    .join('\n');
}

export const keyOf = (line: string): string => line.split('=', 1)[0]!.trim();
