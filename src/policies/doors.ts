/**
 * What VPP lets through whatever policies say: by name, what opens it, who can, and what closes it. docs/policies-limits.md says more; a test shows each
 * on a real VPP by packets. VPP does not tell whether it has been mended: some of it can be tried (`door-trial.ts`), of the rest holds what was seen. Pure.
 */
import type { DoorTrial, TriedDoor } from './door-trial.js';

export type DoorName =
  | 'dead_first_packet'
  | 'quoted_flow'
  | 'other_protocols'
  | 'other_protocols_out'
  | 'other_icmp'
  | 'fragments'
  | 'poisoned_errors'
  | 'full_table'
  | 'ip_options';

export interface Door {
  readonly is_open: boolean;
  /** Tried on the VPP that this node has, or known of the one on which it was seen. A setting of this node's is neither. */
  readonly from: 'trial' | 'known' | 'setting';
  readonly what: string;
  /** What closes it, or would. */
  readonly step: string;
}

/** Of VPP, with its plugins npol and cnat. */
export const doors_seen_on = '26.10-rc0';

const patch = 'a VPP in which it is mended; no setting closes it';

const known: Readonly<Record<DoorName, Pick<Door, 'what' | 'step'>>> = {
  dead_first_packet: {
    what: 'ingress policy of a flow whose first packet ends within VPP (TTL 1, too large, no route yet) is never asked: whoever can send packets of his own making reaches isolated pods, and the host',
    step: patch,
  },
  quoted_flow: {
    what: 'an ICMP error that quotes a flow which does not exist opens that flow, whoever sends it to whomever',
    step: patch,
  },
  other_protocols: {
    what: 'only TCP, UDP, SCTP and echo requests are judged: pods get other protocols, and IPv6 behind extension headers or in fragments, whatever their policies say',
    step: 'CALICOVPP_OTHER_PROTOCOLS=drop, with which no pod gets them; or a VPP in which it is mended',
  },
  other_protocols_out: {
    what: 'whatever its egress policies say a pod sends packets of other protocols, and of IPv6 behind extension headers or in fragments, to what is no pod',
    step: patch,
  },
  other_icmp: {
    what: 'of ICMP echo requests alone are judged: other types pass, both ways',
    step: patch,
  },
  fragments: {
    what: 'ports of IPv4 fragments behind the first are not known: fragmented UDP is lost where a rule asks for ports',
    step: 'smaller datagrams; or a VPP in which it is mended',
  },
  poisoned_errors: {
    what: "one ICMP error of VPP's to an isolated pod, and packets of other protocols and all of VPP's ICMP errors are dropped on the whole node until VPP begins anew",
    step: 'end VPP once to be rid of it; or a VPP in which it is mended',
  },
  full_table: {
    what: 'new flows are not judged while the table of sessions is full',
    step: 'a larger session-max in the cnat section of VPP',
  },
  ip_options: {
    what: 'IPv4 packets with options go to the host past every policy',
    step: 'CALICOVPP_IP_OPTIONS=drop',
  },
};

/** What of these settings closes, whatever VPP does. */
const closed_by = { ip_options: 'drop_ip_options', other_protocols: 'drop_other_protocols' } as const;

export type DoorSettings = Readonly<Record<(typeof closed_by)[keyof typeof closed_by], boolean>>;

/** Those that a setting of ours closes are told, too. `trial`: what was tried. */
export function doors(settings: DoorSettings, trial?: DoorTrial): Readonly<Record<DoorName, Door>> {
  const state = (name: DoorName): Pick<Door, 'is_open' | 'from'> => {
    const setting = closed_by[name as keyof typeof closed_by];
    if (setting !== undefined && settings[setting]) return { is_open: false, from: 'setting' };
    if (name === 'ip_options') return { is_open: true, from: 'setting' };
    // What it does not judge for those it judges for nobody.
    const tried = trial?.is_open[(name === 'other_protocols_out' ? 'other_protocols' : name) as TriedDoor];
    return tried === undefined ? { is_open: true, from: 'known' } : { is_open: tried, from: 'trial' };
  };
  const names = Object.keys(known) as DoorName[];
  return Object.fromEntries(
    names.map((name) => [name, { ...state(name), ...known[name] }]),
  ) as unknown as Record<DoorName, Door>;
}

/** Names of the doors that a trial has found open, for a line of text. */
export function openDoors({ is_open }: DoorTrial): readonly string[] {
  return Object.keys(is_open).filter((name) => is_open[name as TriedDoor]);
}
