/** The page at /debug: one file, that loads nothing and runs nothing but what is in it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { style } from './style.js';

/** For the browser alone: no module of this program, but a file beside this one that is put into the page. */
export const script = readFileSync(new URL('./script.js', import.meta.url), 'utf8');

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** What the browser may do with it: its own style and script, and questions to where it came from. */
export const page_policy = [
  "default-src 'none'",
  `script-src ${hash(script)}`,
  // The depth of a line of the tree is set as a property by the script, which this does not concern.
  `style-src ${hash(style)}`,
  "connect-src 'self'",
  // The icon, which is none: browsers ask for one otherwise.
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Columns of numbers, which stand on the right. */
const numbers = ['in flight', 'desired', 'programmed', 'dumped', 'waiting', 'refused', 'restarts', 'mailbox'];

const column = (name: string): string =>
  `<th scope="col"${numbers.includes(name) ? ' class="number"' : ''}>${name}</th>`;

const head = (...names: readonly string[]): string => `<thead><tr>${names.map(column).join('')}</tr></thead>`;

export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>calico-vpp-node</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<header>
<h1 id="node">calico-vpp-node</h1>
<strong id="ready" role="status"></strong>
<span id="loop" role="alert"></span>
<span id="version"></span>
<span id="as-of"></span>
<button id="pause" aria-pressed="false">pause</button>
</header>
<main>
<noscript>This page needs JavaScript; without it: calico-vpp-node status, calico-vpp-node tree.</noscript>
<div class="columns">
<section aria-labelledby="h-conditions"><h2 id="h-conditions">Conditions</h2>
<div class="scroll"><table>${head('condition', 'holds', 'since', 'reason')}<tbody id="conditions"></tbody></table></div></section>
<section aria-labelledby="h-vpp"><h2 id="h-vpp">VPP</h2>
<div id="vpp-facts"></div><div id="vpp-state"></div><div id="quarantined"></div><div id="incompatible"></div>
<div class="scroll"><table>${head('connection', 'in flight', 'waiting', 'oldest')}<tbody id="connections"></tbody></table></div></section>
<section aria-labelledby="h-owners"><h2 id="h-owners">What VPP is to have</h2>
<div class="scroll"><table>${head('owner', 'desired', 'programmed', 'dumped', 'waiting', 'refused')}<tbody id="owners"></tbody></table></div></section>
</div>
<section id="refused-part" aria-labelledby="h-refused" hidden><h2 id="h-refused">Refused</h2>
<div class="scroll"><table>${head('owner', 'object', 'reason')}<tbody id="refused"></tbody></table></div></section>
<section aria-labelledby="h-tree"><h2 id="h-tree">Actors</h2>
<p class="quiet"><label>Filter <input id="filter" type="search" autocomplete="off" spellcheck="false" placeholder="name, pod or state"></label>
<kbd>/</kbd> filter, <kbd>↑</kbd> <kbd>↓</kbd> move, <kbd>←</kbd> <kbd>→</kbd> close and open, <kbd>Enter</kbd> all there is of one, <kbd>p</kbd> pause</p>
<div class="scroll"><table role="treegrid" aria-labelledby="h-tree">${head('actor', 'state', 'for', 'restarts', 'mailbox', 'handling', 'what it says')}<tbody id="tree"></tbody></table></div>
<p id="unshown"></p></section>
<section aria-labelledby="h-events"><h2 id="h-events">Events</h2>
<div class="scroll"><table>${head('time', 'actor', 'kind', 'event')}<tbody id="events"></tbody></table></div></section>
</main>
<dialog id="actor" aria-labelledby="actor-name">
<form method="dialog"><h2 id="actor-name"></h2><button autofocus>close</button></form>
<pre id="actor-text" tabindex="0"></pre>
</dialog>
<script type="module">${script}</script>
</body>
</html>
`;
