/** A strict reader of the text format of Prometheus, and of OpenMetrics: what it does not take is a fault by line. */

export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Parsed {
  /** By family. */
  readonly types: ReadonlyMap<string, string>;
  readonly helps: ReadonlyMap<string, string>;
  readonly series: readonly Series[];
  readonly faults: readonly string[];
}

const name_pattern = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const types_of = {
  text: ['counter', 'gauge', 'histogram', 'summary', 'untyped'],
  openmetrics: ['counter', 'gauge', 'histogram', 'summary', 'unknown', 'info'],
};

/** `{a="b",c="d"}` from its brace on; undefined where it is not well-formed. */
function labelsIn(
  text: string,
): { readonly labels: Record<string, string>; readonly rest: string } | undefined {
  const labels: Record<string, string> = {};
  if (!text.startsWith('{')) return { labels, rest: text };
  let rest = text.slice(1);
  while (!rest.startsWith('}')) {
    const [whole, name, value] = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"/.exec(rest) ?? [];
    if (whole === undefined || name === undefined || value === undefined || name in labels) return undefined;
    labels[name] = value.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c));
    rest = rest.slice(whole.length);
    if (rest.startsWith(',') && rest[1] !== '}') rest = rest.slice(1);
    else if (!rest.startsWith('}')) return undefined;
  }
  return { labels, rest: rest.slice(1) };
}

/** The family that a line belongs to. */
function familyOf(name: string, types: ReadonlyMap<string, string>, format: keyof typeof types_of): string {
  if (types.has(name) && !(format === 'openmetrics' && types.get(name) === 'counter')) return name;
  const base = name.replace(/_(bucket|sum|count)$/, '');
  if (base !== name && types.get(base) === 'histogram') return base;
  const counter = name.replace(/_total$/, '');
  return format === 'openmetrics' && types.get(counter) === 'counter' && counter !== name ? counter : name;
}

function histogramFaults(name: string, series: readonly Series[]): string[] {
  const faults: string[] = [];
  const groups = new Map<string, Series[]>();
  for (const each of series.filter((of) => of.name.replace(/_(bucket|sum|count)$/, '') === name)) {
    const { le: _, ...labels } = each.labels;
    const key = JSON.stringify(labels);
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  for (const [key, of] of groups) {
    const buckets = of.filter((each) => each.name === `${name}_bucket`);
    const bounds = buckets.map(({ labels }) =>
      labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le),
    );
    const counts = buckets.map(({ value }) => value);
    if (bounds.at(-1) !== Number.POSITIVE_INFINITY) faults.push(`${name}${key} has no bucket +Inf`);
    if (bounds.some((bound, i) => Number.isNaN(bound) || (i > 0 && bound <= bounds[i - 1]!)))
      faults.push(`${name}${key}: bounds do not rise`);
    if (counts.some((count, i) => i > 0 && count < counts[i - 1]!)) faults.push(`${name}${key}: counts fall`);
    if (of.find((each) => each.name === `${name}_count`)?.value !== counts.at(-1))
      faults.push(`${name}${key}: count and +Inf differ`);
    if (!of.some((each) => each.name === `${name}_sum`)) faults.push(`${name}${key} has no sum`);
  }
  return faults;
}

/** `lint`: also what promtool complains of. */
export function parse(body: string, format: 'text' | 'openmetrics' = 'text', lint = false): Parsed {
  const types = new Map<string, string>();
  const helps = new Map<string, string>();
  const series: Series[] = [];
  const faults: string[] = [];
  const seen = new Set<string>();
  const ended = new Set<string>();
  let current = '';
  if (!body.endsWith('\n')) faults.push('the last line has no end');
  const lines = body.split('\n').slice(0, -1);
  if (format === 'openmetrics' && lines.pop() !== '# EOF') faults.push('there is no # EOF at the end');
  const enter = (family: string, line: string): void => {
    if (family === current) return;
    if (ended.has(family)) faults.push(`${line}: ${family} is not in one piece`);
    ended.add(current);
    current = family;
  };
  for (const line of lines) {
    if (line === '') {
      if (format === 'openmetrics') faults.push('an empty line');
      continue;
    }
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind !== undefined) {
      enter(name, line);
      if (!name_pattern.test(name)) faults.push(`${line}: no name`);
      const known = kind === 'HELP' ? helps : types;
      if (known.has(name)) faults.push(`${line}: ${kind} twice`);
      if (series.some((each) => familyOf(each.name, types, format) === name))
        faults.push(`${line}: behind samples`);
      known.set(name, rest);
      if (kind === 'TYPE' && !types_of[format].includes(rest)) faults.push(`${line}: no type`);
      if (kind === 'HELP' && rest.trim() === '') faults.push(`${line}: says nothing`);
      continue;
    }
    if (line.startsWith('#')) {
      faults.push(`${line}: a comment`);
      continue;
    }
    const [, sample = '', tail = ''] = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(.*)$/.exec(line) ?? [];
    const labelled = labelsIn(tail);
    const value = /^ (\S+)$/.exec(labelled?.rest ?? '')?.[1];
    if (sample === '' || labelled === undefined || value === undefined || Number.isNaN(Number(value))) {
      faults.push(`${line}: no sample`);
      continue;
    }
    const family = familyOf(sample, types, format);
    enter(family, line);
    if (!types.has(family) || !helps.has(family)) faults.push(`${line}: no TYPE or HELP before it`);
    const key = `${sample}${JSON.stringify(Object.entries(labelled.labels).sort())}`;
    if (seen.has(key)) faults.push(`${line}: twice`);
    seen.add(key);
    if (types.get(family) === 'counter' && !(Number(value) >= 0)) faults.push(`${line}: less than nothing`);
    series.push({ name: sample, labels: labelled.labels, value: Number(value) });
  }
  for (const [name, type] of types) {
    if (type === 'histogram') faults.push(...histogramFaults(name, series));
    if (!lint) continue;
    if (format === 'text' && (type === 'counter') !== name.endsWith('_total'))
      faults.push(`${name}: ${type} and _total`);
    if (/[A-Z]/.test(name)) faults.push(`${name}: capitals`);
    if (type !== 'histogram' && /_(bucket|sum|count)$/.test(name))
      faults.push(`${name}: the end of a histogram's`);
    if (/_(milli\w*|micro\w*|nano\w*|kilo\w*|mega\w*|hours|minutes|ms|us)(_|$)/.test(name))
      faults.push(`${name}: not in base units`);
  }
  return { types, helps, series, faults };
}
