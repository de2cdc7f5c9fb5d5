/** What is programmed for a pod, a service or the node itself, and by which input: as data and as text. Pure. */
import { isIP } from 'node:net';
import type { ShownInterface } from '../messages/policies.js';
import type { ShownService } from '../messages/services.js';
import { servicesText } from './services-text.js';
import { table } from './table.js';

/** What people ask for: a pod or a service by namespace and name, or the node. */
export interface Wanted {
  /** In the order in which they are looked for. */
  readonly kinds: readonly ('pod' | 'service' | 'node')[];
  /** `namespace/name`; empty for the node. */
  readonly name: string;
}

const name_pattern = /^[^/\s]{1,253}\/[^/\s]{1,253}$/;
const kind_words = {
  pod: 'pod',
  pods: 'pod',
  service: 'service',
  services: 'service',
  svc: 'service',
} as const;

/** `pod/NAMESPACE/NAME`, `service/NAMESPACE/NAME`, `NAMESPACE/NAME` (a pod, else a service), `node`; undefined: none of these. */
export function parseWanted(text: string): Wanted | undefined {
  if (text === 'node') return { kinds: ['node'], name: '' };
  if (name_pattern.test(text)) return { kinds: ['pod', 'service'], name: text };
  const [word = '', ...rest] = text.split('/');
  const name = rest.join('/');
  const kind = Object.hasOwn(kind_words, word) ? kind_words[word as keyof typeof kind_words] : undefined;
  return kind !== undefined && name_pattern.test(name) ? { kinds: [kind], name } : undefined;
}

export interface PodWhy {
  readonly interface: string;
  /** Of the pod: the detail by which CNI knows it. */
  readonly netns: string;
  /** Of its actor, which has events and errors. */
  readonly actor: string;
  readonly state: string;
  readonly phase: string;
  readonly fault: string;
  /** -1: VPP has none. */
  readonly sw_if_index: number;
  readonly addresses: readonly string[];
  readonly host_ports: readonly string[];
  /** By object of VPP: `programmed`, `waiting`, `refused: …`, `going`. */
  readonly objects: Readonly<Record<string, string>>;
  /** Absent: nobody enforces policies, or this interface is not known to who does. */
  readonly policies?: ShownInterface;
}

export type Why =
  | {
      readonly kind: 'pod';
      readonly name: string;
      readonly addresses: readonly string[];
      readonly interfaces: readonly PodWhy[];
      /** Translations that lead to it: by service, `10.96.0.10 80/tcp`. */
      readonly services: Readonly<Record<string, readonly string[]>>;
    }
  | {
      readonly kind: 'service';
      readonly name: string;
      readonly addresses: readonly string[];
      readonly service: ShownService;
      readonly objects: Readonly<Record<string, readonly string[]>>;
    }
  | {
      readonly kind: 'node';
      readonly name: string;
      readonly addresses: readonly string[];
      readonly uplinks: readonly string[];
    };

/** Of the text of a key or a back end: the addresses in it. */
export function addressesIn(text: string): readonly string[] {
  return text
    .split(/[\s,/[\]]+/)
    .flatMap((word) => [word, word.replace(/:\d+$/, '')])
    .filter((word) => isIP(word) !== 0)
    .slice(0, 1);
}

const clean = (text: string): string => text.replace(/\p{Cc}+/gu, ' ');

function podLines(why: PodWhy): readonly string[] {
  const { policies } = why;
  const facts = [
    [
      'interface',
      `${why.interface}${why.sw_if_index < 0 ? ' (VPP has none)' : ` (sw_if_index ${why.sw_if_index})`}`,
    ],
    ['addresses', why.addresses.join(', ')],
    [
      'asked for by',
      `CNI ADD for ${why.netns}${why.host_ports.length > 0 ? `, host ports ${why.host_ports.join(', ')}` : ''}`,
    ],
    ['state', `${why.state}, ${why.phase}`],
    ...(why.fault === '' ? [] : [['fault', why.fault]]),
    ...(policies === undefined
      ? [['policies', 'nobody enforces any here']]
      : [
          ['policies', `${policies.state}, by endpoint ${policies.endpoint} of Felix`],
          ...policies.policies.map((name) => ['', name]),
          ...policies.refusals.map((text) => ['', `not enforced: ${text}`]),
        ]),
    ['actor', why.actor],
  ];
  const objects = Object.entries(why.objects).map(([key, state]) => [clean(key), clean(state)]);
  return [
    ...table(facts.map((cells) => cells.map(clean))),
    '',
    ...table([['OBJECT OF VPP', 'STATE'], ...(objects.length > 0 ? objects : [['none', '']])]),
    '',
  ];
}

/** For a terminal. */
export function whyText(why: Why): string {
  const lines = [`${why.kind} ${clean(why.name)}`, ''];
  switch (why.kind) {
    case 'pod': {
      const services = Object.entries(why.services).flatMap(([name, vips]) =>
        vips.map((vip) => [clean(name), clean(vip)]),
      );
      lines.push(...why.interfaces.flatMap(podLines));
      lines.push(
        ...table([
          ['SERVICE THAT LEADS TO IT', 'ADDRESS'],
          ...(services.length > 0 ? services : [['none', '']]),
        ]),
      );
      break;
    }
    case 'service':
      lines.push(
        servicesText(
          { services: { [why.name]: why.service }, service_count: 1, objects: why.objects },
          why.name,
        ).trimEnd(),
        '',
        `asked for by: Service ${clean(why.name)} and its EndpointSlices`,
      );
      break;
    case 'node':
      lines.push(
        ...table([
          ['addresses', why.addresses.join(', ')],
          ['uplinks', why.uplinks.join(', ')],
        ]),
      );
  }
  return `${lines.join('\n')}\n`;
}

/** Of each interface of a pod, for exit codes: nothing waits, is refused or at fault. */
export function isAsItShouldBe(why: Why): boolean {
  switch (why.kind) {
    case 'pod':
      return why.interfaces.every(
        ({ fault, objects, policies }) =>
          fault === '' &&
          Object.values(objects).every((state) => state === 'programmed') &&
          (policies === undefined || (policies.state === 'enforced' && policies.refusals.length === 0)),
      );
    case 'service':
      return why.service.vips.every(({ state }) => /^(programmed|unserved)/.test(state));
    case 'node':
      return why.addresses.length > 0;
  }
}
