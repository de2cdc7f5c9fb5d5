/** The fields that are read, those of docs/bgp.md, and those that the conformance test tries at a router are the same. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { kinds } from '../../src/calico/kinds/kinds.js';

const root = new URL('../../../', import.meta.url);
const text = (path: string): string => readFileSync(new URL(path, root), 'utf8');

/** Rows of the table that begins with this heading: the fields of the first column, and the rest. */
function rows(kind: string): readonly (readonly [fields: readonly string[], rest: string])[] {
  const [, table = ''] =
    new RegExp(`^\\| ${kind} \\|[^\\n]*\\n\\|[-|]+\\n((?:\\|[^\\n]*\\n)+)`, 'm').exec(text('docs/bgp.md')) ??
    [];
  return table
    .trim()
    .split('\n')
    .map((row) => {
      const [, first = '', ...rest] = row.split('|');
      const names = [...first.matchAll(/`(…?)([A-Za-z0-9]+)(…?)`/g)];
      const fields = names.flatMap(([, before, name, after], at) => {
        if (before === undefined || name === undefined || (!before && !after)) return name ?? [];
        // `ipv4Elevated…`, `…ipv6…`: short for the same name with the other family.
        const whole = names[at - 1]?.[2] ?? '';
        return name.toUpperCase() === 'V6'
          ? whole.replace(/V4$/, 'V6')
          : whole.replace(/ipv4/i, name === 'ipv6' ? 'ipv6' : name);
      });
      return [fields, rest.join('|')] as const;
    });
}

/** The names that are asked for of an object that has these fields. */
function recorded(fields: Readonly<Record<string, unknown>>): readonly [object: object, asked: Set<string>] {
  const asked = new Set<string>();
  const object = new Proxy(fields, {
    get: (of, name) => {
      if (typeof name === 'string') asked.add(name);
      return Reflect.get(of, name);
    },
  });
  return [object, asked];
}

function read(kind: 'BGPPeer' | 'BGPConfiguration' | 'BGPFilter'): ReadonlySet<string> {
  const [rule, of_rule] = recorded({
    action: 'Accept',
    cidr: '10.0.0.0/8',
    matchOperator: 'In',
    prefixLength: { min: 9, max: 10 },
  });
  const needed = {
    BGPPeer: { peerIP: '10.0.0.1', asNumber: 64_512 },
    BGPConfiguration: {},
    BGPFilter: { importV4: [rule] },
  }[kind];
  const [spec, of_spec] = recorded(needed);
  const { faults } = kinds[kind].pick('x', { metadata: { name: 'x' }, spec });
  t.same(faults, [], kind);
  const names = [...of_spec, ...(kind === 'BGPFilter' ? of_rule : [])];
  return new Set(names.filter((name) => /^[a-z][A-Za-z0-9]+$/.test(name) && !(name in Object.prototype)));
}

const tried = text('test/conformance/fields.test.ts') + text('test/conformance/routers.test.ts');
/** By its name in the test, or with no effect that a router could see. */
const without_effect = /not supported|no effect/;

for (const kind of ['BGPPeer', 'BGPConfiguration', 'BGPFilter'] as const)
  t.test(kind, async (t) => {
    const table = rows(kind);
    const documented = new Set(table.flatMap(([fields]) => fields));
    for (const operation of ['addCommunity', 'setPriority', 'prependASPath']) documented.delete(operation);
    t.strictSame([...documented].sort(), [...read(kind)].sort(), 'what is documented is what is read');
    for (const [fields, rest] of table) {
      if (without_effect.test(rest)) continue;
      for (const field of fields)
        t.match(tried, new RegExp(`\\b${field}\\b`), `${field} is tried at a router`);
    }
  });
