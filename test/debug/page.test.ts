/** The page at /debug, in headless Chromium where there is one. PAGE_SHOTS names a directory to keep screenshots in. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { page, page_policy, script } from '../../src/debug/page/page.js';
import type { SectionName, Sections } from '../../src/debug/protocol.js';
import type { Source } from '../../src/debug/routes.js';
import { debugServer } from '../../src/debug/server.js';
import { needs } from '../kit/needs.js';
import { Browser, findChromium } from './browser.js';
import { NOW_MS, sampleNode, sampleTree } from './sample.js';

const chromium = findChromium();
const browsed = needs(chromium === undefined ? 'there is no Chromium on this machine' : undefined);

const markup = '<img src=x onerror="document.title=1">';

const tree = sampleNode('root', {
  children: [
    ...sampleTree.children,
    sampleNode('root/services', {
      name: 'services',
      gauges: { services: 12, desired: 24, in_vpp: 22, waiting: 1, refused: 1, drift: 2 },
    }),
    sampleNode('root/cni', {
      name: 'cni',
      children: [
        sampleNode('root/cni/default/web-0 eth0', {
          name: 'default/web-0 eth0',
          gauges: {
            pod: 'default/web-0 eth0',
            netns: '/run/netns/cni-5d1f',
            desired: 7,
            in_vpp: 7,
            fault: '',
          },
        }),
        sampleNode('root/cni/default/web-1 eth0', {
          name: 'default/web-1 eth0',
          state: 'blocked',
          detail: markup,
          gauges: { pod: 'default/web-1 eth0', desired: 7, in_vpp: 5, fault: `VPP: refused ${markup}` },
        }),
      ],
    }),
  ],
});

const sections: Partial<Sections> = {
  health: {
    conditions: [
      { name: 'vpp', ok: true, since_ms: NOW_MS - 60_000, reason: 'VPP 412 answers' },
      { name: 'uplink', ok: false, since_ms: NOW_MS - 5000, reason: markup },
    ],
    started: true,
  },
  tree: { tree, counters: { actors: 9 } as never },
  events: {
    events: [
      { at: NOW_MS - 5000, path: 'root/uplink', incarnation: 1, kind: 'uplink', text: 'linux: VPP died' },
      { at: NOW_MS - 1000, path: 'root/cni', incarnation: 1, kind: 'refused', text: markup },
    ],
    omitted: 0,
  },
  sync: { services: { refused: { 'translation:tcp/10.96.0.10/80': `no room ${markup}` } } },
};

async function served(t: Test) {
  const asked: string[] = [];
  const vpp = {
    state: 'Connected',
    generation: 2,
    quarantined: ['pod default/evil eth0'],
    api: {
      prompt: { in_flight: [{ message: 'cnat_translation_update', age_ms: 1200 }], waiting: 3, messages: [] },
      bulk: { in_flight: [], waiting: 0, messages: [] },
    },
  };
  const source: Source = {
    section: (name: SectionName) => ({ taken_at: NOW_MS, value: sections[name] ?? null }) as never,
    silent_ms: () => 10,
    ask: async (question) => {
      asked.push(question.type);
      return { ok: true, text: question.type === 'vppApi' ? JSON.stringify(vpp) : 'null' };
    },
    stats: { retries: 0, read: async () => ({ ok: false, reason: 'VPP does not run', is_dead: true }) },
    config: '{}',
    facts: { node_name: 'node1', version: '1.2.3', uplinks: [], pods_max: 110 },
    openFiles: () => undefined,
    process: () => ({}),
    wall_ms: () => NOW_MS,
  };
  const server = debugServer('debug', source);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { asked, url: `http://127.0.0.1:${port}/debug` };
}

t.test('the page runs only what is in it, and loads nothing', async (t) => {
  const { url } = await served(t);
  const answer = await fetch(url);
  t.equal(answer.headers.get('content-security-policy'), page_policy);
  t.match(answer.headers.get('content-type'), 'text/html');
  t.equal(await answer.text(), page);
  t.notMatch(page_policy, /unsafe|\*/);
  t.notMatch(page, /https?:|\bon[a-z]+="/, 'nothing from elsewhere, no handlers in the markup');
  t.notMatch(
    script,
    /innerHTML|outerHTML|insertAdjacent|document\.write|eval\(/,
    'nothing is put in as HTML',
  );
});

t.test(
  'names that are not this machine’s get nothing: a page of somebody else could have led here',
  async (t) => {
    const { url } = await served(t);
    const { request } = await import('node:http');
    const status = (host: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const call = request(url, { headers: { host } }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        call.on('error', reject);
        call.end();
      });
    for (const host of ['127.0.0.1:9000', 'localhost:9000', 'localhost', '[::1]:9000', '10.0.0.1'])
      t.equal(await status(host), 200, host);
    for (const host of ['evil.example:9000', 'localhost.evil.example', '127.0.0.1.evil.example'])
      t.equal(await status(host), 421, host);
  },
);

t.test('the page in a browser', browsed(), async (t) => {
  const { asked, url } = await served(t);
  const browser = await Browser.start(chromium!);
  t.teardown(() => browser.close());
  const shot = async (name: string): Promise<void> => {
    const png = await browser.screenshot();
    t.equal(png.subarray(1, 4).toString(), 'PNG');
    if (process.env.PAGE_SHOTS) writeFileSync(join(process.env.PAGE_SHOTS, `${name}.png`), png);
  };
  const text = (id: string): Promise<string> =>
    browser.evaluate(`document.getElementById('${id}').innerText`);
  await browser.send('Emulation.setDeviceMetricsOverride', {
    width: 1400,
    height: 1000,
    deviceScaleFactor: 1,
    mobile: false,
  });
  await browser.send('Page.navigate', { url });
  await browser.until('Number(document.body?.dataset.rounds ?? 0) >= 1');

  t.match(await text('node'), 'node1');
  t.match(await text('ready'), /^not ready: uplink: <img/, 'markup is text');
  t.equal(await browser.evaluate('document.images.length'), 0);
  t.equal(await browser.evaluate('document.title'), 'node1 — calico-vpp-node');
  t.match(await text('conditions'), /vpp\s+yes\s+1m0s\s+VPP 412 answers/);
  t.match(await text('owners'), /services\s+24\s+22\s+20\s+1\s+1/);
  t.match(await text('owners'), /pods\s+14\s+12\s+–\s+2\s+1/);
  t.match(await text('refused'), /translation:tcp\/10\.96\.0\.10\/80\s+no room/);
  t.match(await text('refused'), /default\/web-1 eth0\s+VPP: refused/);
  t.match(await text('connections'), /prompt\s+1\s+3\s+1\.2s cnat_translation_update/);
  t.match(await text('quarantined'), 'pod default/evil eth0');
  t.match(await text('events'), /refused[\s\S]*VPP died/, 'the newest first');
  const drawn = await text('tree');
  for (const part of [
    /vpp-connection\s+running/,
    /policies\s+backoff\s+1\.8s\s+4/,
    /pod\/a\s+running\s+3d2h\s+0\s+3\/64, dropped 2\s+Add 4\.1s/,
    /ECONNRESET ×4/,
    /default\/web-0 eth0\s+running/,
  ])
    t.match(drawn, part);
  await shot('light');

  const focused = (): Promise<string> =>
    browser.evaluate('document.activeElement.dataset.key ?? document.activeElement.id');
  await browser.evaluate("document.querySelector('#tree tr').focus()");
  t.equal(await focused(), 'root');
  await browser.press('ArrowDown');
  t.equal(await focused(), 'node/vpp');
  const rows = (): Promise<number> => browser.evaluate('document.getElementById("tree").rows.length');
  const all = await rows();
  await browser.press('ArrowLeft');
  t.equal(await rows(), all - 2, 'closed');
  await browser.press('ArrowRight');
  t.equal(await rows(), all);
  await browser.press('End');
  t.equal(await focused(), 'root/cni/default/web-1 eth0');
  await browser.press('ArrowLeft');
  t.equal(await focused(), 'root/cni', 'up to what supervises it');
  await browser.press('Enter');
  await browser.until(
    "document.getElementById('actor').open && document.getElementById('actor-text').innerText.includes('root/cni')",
  );
  await browser.press('Escape');
  await browser.until("!document.getElementById('actor').open");
  await browser.press('/');
  t.equal(await focused(), 'filter');
  await browser.evaluate("filter.value = 'web-1'; filter.dispatchEvent(new Event('input'))");
  t.match(await text('tree'), /root[\s\S]*cni[\s\S]*web-1/);
  t.notMatch(await text('tree'), /web-0|policies/);
  await browser.evaluate("filter.value = ''; filter.dispatchEvent(new Event('input'))");

  const began = await browser.evaluate<number>('Number(document.body.dataset.rounds)');
  await browser.until(`Number(document.body.dataset.rounds) > ${began}`);
  await browser.evaluate(
    "Object.defineProperty(document, 'hidden', { get: () => true, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))",
  );
  await browser.evaluate('new Promise((resolve) => setTimeout(resolve, 300))');
  const when_hidden = asked.length;
  await browser.evaluate('new Promise((resolve) => setTimeout(resolve, 2500))');
  t.equal(asked.length, when_hidden, 'nothing is asked while nobody looks');
  await browser.evaluate(
    "Object.defineProperty(document, 'hidden', { get: () => false, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))",
  );
  await browser.until(`Number(document.body.dataset.rounds) > ${began + 1}`);
  t.ok(asked.length > when_hidden, 'and at once when somebody does');

  await browser.send('Emulation.setEmulatedMedia', {
    features: [{ name: 'prefers-color-scheme', value: 'dark' }],
  });
  t.equal(await browser.evaluate('getComputedStyle(document.body).backgroundColor'), 'rgb(20, 23, 26)');
  await shot('dark');
  // A node that is not ready says so by its status.
  const complaints = browser.complaints.filter((text) => !/status of 503.*\/status/.test(text));
  t.strictSame(complaints, [], 'the policy stands in nothing’s way');
});
