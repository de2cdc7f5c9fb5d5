/**
 * What the page does, as the browser gets it. All that the node says is set as text, nothing as HTML. One round of questions at a time, none while
 * the page is hidden, and the next after at least ten times as long as the last one took.
 */
const ROUND_MS = 2000;
const ANSWER_MS = 5000;
const PAUSE_SHARE = 10;
const ROWS_MAX = 500;
const EVENTS_MAX = 50;
const REFUSED_MAX = 50;

const $ = (id) => document.getElementById(id);
const closed = new Set();
let nodes = [];
let latest;
let current = '';
let timer;
let asking = false;
let paused = false;

const ask = async (path) => {
  const answer = await fetch(path, {
    headers: { accept: 'application/json' },
    cache: 'no-store',
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  const value = await answer.json();
  if (!answer.ok && value.error !== undefined) throw new Error(value.error);
  return value;
};
const settled = (path) => ask(path).catch((error) => ({ error: String(error.message ?? error) }));

function duration(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return `${Math.round(s * 1000)}ms`;
  if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${Math.floor(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d${Math.floor((s % 86400) / 3600)}h`;
}

/** Words of anybody: a line of them, bounded. */
const line = (text, max = 300) => {
  const clean = String(text ?? '')
    .replace(/\p{Cc}+/gu, ' ')
    .trim();
  return clean.length > max ? `${clean.slice(0, max - 1)}…` : clean;
};

function put(element, text, look) {
  const words = line(text);
  if (element.textContent !== words) element.textContent = words;
  if (element.className !== (look ?? '')) element.className = look ?? '';
}

/** Rows by key: what stays is not made anew, so that the focus stays where it is. Each cell: text, or [text, look]. */
function fill(body, rows, dress) {
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  rows.forEach(({ key, cells, of }, at) => {
    const row = known.get(key) ?? document.createElement('tr');
    known.delete(key);
    row.dataset.key = key;
    cells.forEach((cell, n) => {
      const td = row.cells[n] ?? row.insertCell();
      const [text, look] = Array.isArray(cell) ? cell : [cell];
      put(td, text, look);
    });
    dress?.(row, of);
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null);
  });
  for (const row of known.values()) row.remove();
}

const stateLook = (state) =>
  state === 'running' ? 'good' : ['blocked', 'starting', 'draining'].includes(state) ? 'late' : 'bad';

const titleOf = (node) => {
  const pod = node.gauges.pod;
  return pod && !node.name.startsWith(String(pod)) ? `${pod} · ${node.name}` : node.name;
};

const gaugesOf = (node) =>
  Object.entries(node.gauges)
    .filter(([name, value]) => name !== 'pod' && value !== '')
    .map(([name, value]) => `${name} ${value}`)
    .join('  ');

function walk(node, level, word, found) {
  const text = `${titleOf(node)} ${node.path} ${node.state}`.toLowerCase();
  const from = found.length;
  found.push({ node, level });
  if (word !== '' || !closed.has(node.path))
    for (const child of node.children) walk(child, level + 1, word, found);
  if (word !== '' && found.length === from + 1 && !text.includes(word)) found.pop();
  return found;
}

function treeRow({ node, level }, now) {
  const { mailbox, currentHandler, restarts, supervision, lastError } = node;
  const up = node.state === 'running' || node.state === 'blocked';
  const marker = node.children.length === 0 ? '  ' : closed.has(node.path) ? '▸ ' : '▾ ';
  const error =
    lastError === undefined
      ? ''
      : lastError.message +
        (lastError.count > 1 ? ` ×${lastError.count}` : '') +
        ', ' +
        duration(now - lastError.lastAt) +
        ' ago';
  const handling =
    currentHandler === undefined ? '' : `${currentHandler.type} ${duration(currentHandler.ms)}`;
  return {
    key: node.path,
    of: { node, level },
    cells: [
      [marker + titleOf(node), 'name'],
      [node.state, stateLook(node.state)],
      duration(now - (up ? (node.startedAt ?? node.since) : node.since)),
      [
        restarts.total + (supervision ? ` (${supervision.used}/${supervision.intensity.restarts_max})` : ''),
        restarts.total > 0 ? 'number late' : 'number quiet',
      ],
      [
        `${mailbox.depth}/${mailbox.capacity}${mailbox.dropped > 0 ? `, dropped ${mailbox.dropped}` : ''}`,
        mailbox.depth > 0 ? 'number late' : 'number quiet',
      ],
      [handling, currentHandler && currentHandler.ms > 1000 ? 'late' : 'quiet'],
      [
        [node.detail, gaugesOf(node), error && `last error: ${error}`].filter(Boolean).join(' — '),
        error ? 'bad' : 'quiet',
      ],
    ],
  };
}

function drawTree() {
  if (latest?.tree === undefined) return;
  const word = $('filter').value.trim().toLowerCase();
  const found = walk(latest.tree, 1, word, []);
  nodes = found.slice(0, ROWS_MAX);
  if (!nodes.some(({ node }) => node.path === current)) current = nodes[0]?.node.path ?? '';
  const now = Date.parse(latest.as_of);
  fill(
    $('tree'),
    nodes.map((each) => treeRow(each, now)),
    (row, { node, level }) => {
      row.setAttribute('role', 'row');
      row.setAttribute('aria-level', level);
      if (node.children.length > 0) row.setAttribute('aria-expanded', String(!closed.has(node.path)));
      else row.removeAttribute('aria-expanded');
      row.tabIndex = node.path === current ? 0 : -1;
      row.cells[0].style.paddingLeft = `${(level - 1) * 1.3}rem`;
      row.cells[0].title = node.path;
    },
  );
  put(
    $('unshown'),
    found.length > ROWS_MAX
      ? `${found.length - ROWS_MAX} more actors: filter them, or close what is open`
      : '',
    'quiet',
  );
}

function drawStatus(status) {
  if (status.error !== undefined) return;
  document.title = `${status.node} — calico-vpp-node`;
  put($('node'), status.node);
  put($('ready'), status.ready ? 'ready' : `not ready: ${status.message}`, status.ready ? 'good' : 'bad');
  put($('version'), `version ${status.version}, up ${duration(status.uptime_ms)}`, 'quiet');
  const blocked = status.main_loop.blocked_ms;
  put($('loop'), blocked > 0 ? `the main loop has been blocked for ${duration(blocked)}` : '', 'bad');
  const now = Date.parse(status.lastUpdate);
  fill(
    $('conditions'),
    status.conditions.map(({ name, ok, since_ms, reason }) => ({
      key: name,
      cells: [[name, 'name'], ok ? ['yes', 'good'] : ['no', 'bad'], duration(now - since_ms), reason],
    })),
  );
}

function drawVpp(status, api) {
  const vpp = status.vpp;
  const facts =
    vpp === undefined || vpp.pid === 0
      ? ['VPP is not running', 'bad']
      : [
          `VPP ${vpp.version || '(not connected)'}, pid ${vpp.pid}, generation ${vpp.generation}`,
          vpp.version ? 'good' : 'late',
        ];
  // Without an answer nobody knows: what was known stays.
  if (status.error === undefined) put($('vpp-facts'), facts[0], facts[1]);
  const { state, api: connections = {}, quarantined = [], incompatible = [] } = api.vpp ?? {};
  put(
    $('vpp-state'),
    api.error !== undefined ? `the connection cannot be asked: ${api.error}` : `connection ${String(state)}`,
    state === 'Connected' ? 'quiet' : 'bad',
  );
  fill(
    $('connections'),
    Object.entries(connections)
      .filter(([, each]) => Array.isArray(each?.in_flight))
      .map(([name, { in_flight, waiting }]) => ({
        key: name,
        cells: [
          [name, 'name'],
          [String(in_flight.length), 'number'],
          [String(waiting ?? 0), 'number'],
          in_flight[0] === undefined ? '' : `${duration(in_flight[0].age_ms)} ${in_flight[0].message ?? ''}`,
        ],
      })),
  );
  put(
    $('quarantined'),
    quarantined.length > 0 ? `refused, because VPP has died of them: ${quarantined.join(', ')}` : '',
    'bad',
  );
  put($('incompatible'), incompatible.length > 0 ? `this VPP lacks: ${incompatible.join(', ')}` : '', 'late');
}

function drawOwners(owners) {
  const all = Object.entries(owners ?? {});
  fill(
    $('owners'),
    all.map(([name, owner]) => ({
      key: name,
      cells: [
        [name, 'name'],
        [String(owner.desired ?? '–'), 'number'],
        [String(owner.programmed), 'number'],
        [
          owner.dumped === undefined ? '–' : String(owner.dumped),
          owner.dumped === owner.programmed || owner.dumped === undefined ? 'number' : 'number late',
        ],
        [String(owner.waiting), owner.waiting > 0 ? 'number late' : 'number'],
        [String(owner.refused), owner.refused > 0 ? 'number bad' : 'number'],
      ],
    })),
  );
  const refused = all.flatMap(([name, { objects }]) =>
    Object.entries(objects ?? {}).map(([object, reason]) => ({
      key: `${name} ${object}`,
      cells: [[name, 'name'], [object, 'name'], reason],
    })),
  );
  $('refused-part').hidden = refused.length === 0;
  fill($('refused'), refused.slice(0, REFUSED_MAX));
}

function drawEvents(answer) {
  if (answer.error !== undefined) return;
  const seen = new Map();
  fill(
    $('events'),
    answer.events
      .slice(-EVENTS_MAX)
      .reverse()
      .map(({ at, path, kind, text }) => {
        const name = `${at} ${path} ${kind} ${text}`;
        seen.set(name, (seen.get(name) ?? 0) + 1);
        return {
          key: `${name} ${seen.get(name)}`,
          cells: [
            [new Date(at).toLocaleTimeString(), 'quiet'],
            [path, 'name'],
            [kind, kind === 'error' || kind === 'refused' ? 'bad' : 'quiet'],
            text,
          ],
        };
      }),
  );
}

async function round() {
  if (asking || paused || document.hidden) return;
  asking = true;
  const began = performance.now();
  const [tree, status, api, sync, events] = await Promise.all([
    settled('/debug/tree'),
    settled('/status'),
    settled('/debug/vpp/api'),
    settled('/debug/sync'),
    settled(`/debug/events?last=${EVENTS_MAX}`),
  ]);
  asking = false;
  const failed = [tree, status, sync, events].find((each) => each.error !== undefined);
  if (tree.error === undefined) latest = tree;
  put(
    $('as-of'),
    failed === undefined
      ? `as of ${new Date(tree.as_of).toLocaleTimeString()}`
      : `no answer: ${failed.error}`,
    failed === undefined ? 'quiet' : 'bad',
  );
  drawStatus(status);
  drawTree();
  drawVpp(status, api);
  if (sync.error === undefined) drawOwners(sync.owners);
  drawEvents(events);
  document.body.dataset.rounds = Number(document.body.dataset.rounds ?? 0) + 1;
  later(Math.max(ROUND_MS, PAUSE_SHARE * (performance.now() - began)));
}

function later(ms) {
  clearTimeout(timer);
  if (!paused && !document.hidden) timer = setTimeout(round, ms);
}

/** What has waited while nobody looked is asked for at once. */
document.addEventListener('visibilitychange', () => later(0));

function pause() {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', String(paused));
  put($('pause'), paused ? 'go on' : 'pause');
  later(0);
}

async function show(path) {
  put($('actor-name'), path, 'name');
  put($('actor-text'), 'asked …', '');
  $('actor').showModal();
  const answer = await settled(`/debug/actor/${path.split('/').map(encodeURIComponent).join('/')}`);
  if ($('actor').open) $('actor-text').textContent = JSON.stringify(answer, null, 2).slice(0, 200000);
}

function go(at) {
  const each = nodes[Math.max(0, Math.min(nodes.length - 1, at))];
  if (each === undefined) return;
  current = each.node.path;
  drawTree();
  [...$('tree').rows].find((row) => row.dataset.key === current)?.focus();
}

function open(path, wanted) {
  if (wanted) closed.delete(path);
  else closed.add(path);
  drawTree();
}

$('tree').addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const at = nodes.findIndex(({ node }) => node.path === current);
  const here = nodes[at];
  if (here === undefined) return;
  const { node, level } = here;
  const is_open = node.children.length > 0 && !closed.has(node.path);
  const keys = {
    ArrowDown: () => go(at + 1),
    ArrowUp: () => go(at - 1),
    Home: () => go(0),
    End: () => go(nodes.length - 1),
    ArrowRight: () => (node.children.length > 0 && !is_open ? open(node.path, true) : go(at + 1)),
    ArrowLeft: () => {
      if (is_open) return open(node.path, false);
      for (let above = at - 1; above >= 0; above -= 1) if (nodes[above].level < level) return go(above);
    },
    Enter: () => void show(node.path),
    ' ': () => node.children.length > 0 && open(node.path, !is_open),
  };
  const act = keys[event.key];
  if (act === undefined) return;
  event.preventDefault();
  act();
});
$('tree').addEventListener('click', (event) => {
  const row = event.target.closest('tr');
  const each = nodes.find(({ node }) => node.path === row?.dataset.key);
  if (each === undefined) return;
  current = each.node.path;
  row.focus();
  if (event.target === row.cells[0] && each.node.children.length > 0) open(current, closed.has(current));
  else void show(current);
});
$('filter').addEventListener('input', drawTree);
$('pause').addEventListener('click', pause);
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target === $('filter') || $('actor').open)
    return;
  if (event.key === '/') {
    event.preventDefault();
    $('filter').focus();
  }
  if (event.key === 'p' && event.target.tagName !== 'BUTTON') pause();
});
void round();
