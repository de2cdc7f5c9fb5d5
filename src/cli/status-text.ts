import { durationText } from '../debug/duration.js';
import type { Status } from '../debug/status.js';
import { table } from '../debug/table.js';

const clean = (text: string): string => text.replace(/\p{Cc}+/gu, ' ');

/** The node at a glance, for a terminal. `now_ms` is milliseconds since 1970. */
export function statusText(status: Status, now_ms: number): string {
  const { vpp, pods, services, main_loop } = status;
  const vpp_words =
    vpp.pid === 0
      ? 'not running'
      : [
          vpp.version === '' ? 'not connected' : vpp.version,
          `pid ${vpp.pid}`,
          `generation ${vpp.generation}`,
          ...(vpp.files === undefined ? [] : [`${vpp.files.open} of ${vpp.files.max} files open`]),
        ].join('  ');
  const facts = [
    ['node', status.node],
    ['ready', status.ready ? 'yes' : `no: ${status.message}`],
    ['up', durationText(status.uptime_ms)],
    ['version', status.version],
    ['vpp', vpp_words],
    ['uplinks', status.uplinks.map(({ name, driver }) => `${name} (${driver})`).join(', ')],
    ...(status.slower === undefined ? [] : [['slower', clean(status.slower)]]),
    ['pods', `${pods.count} of ${pods.max}`],
    ...(services === undefined
      ? []
      : [
          [
            'services',
            `${services.count}  ${services.in_vpp} objects in VPP${services.refused > 0 ? `  ${services.refused} refused` : ''}`,
          ],
        ]),
    [
      'actors',
      Object.entries(status.actors)
        .map(([state, count]) => `${count} ${state}`)
        .join(', '),
    ],
    ...(main_loop.blocked_ms > 0 ? [['main loop', `blocked for ${durationText(main_loop.blocked_ms)}`]] : []),
  ];
  const conditions = status.conditions.map(({ name, ok, since_ms, reason }) => [
    name,
    ok ? 'yes' : 'no',
    durationText(now_ms - since_ms),
    clean(reason),
  ]);
  const troubled = status.troubled.map(({ path, state, detail, lastError }) => [
    path,
    state,
    clean(detail ?? lastError?.message ?? ''),
  ]);
  return [
    ...table(facts),
    '',
    ...table([['CONDITION', 'OK', 'SINCE', 'REASON'], ...conditions]),
    ...(troubled.length === 0 ? [] : ['', ...table([['TROUBLED', 'STATE', 'WHY'], ...troubled])]),
  ]
    .map((line) => `${clean(line)}\n`)
    .join('');
}
