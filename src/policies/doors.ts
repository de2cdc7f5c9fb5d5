/**
 * What VPP lets through whatever policies say: by name, what opens it, who can, and what closes it. docs/policies-limits.md says more; a test shows each
 * on a real VPP by packets. VPP does not tell whether it has been mended: what is said holds for the versions on which it was seen. Pure.
 */

export interface Door {
  readonly is_open: boolean;
  readonly what: string;
  /** What closes it, or would. */
  readonly step: string;
}

/** Of VPP, with its plugins npol and cnat. */
export const doors_seen_on = '26.10-rc0';

const patch = 'a VPP in which it is mended; no setting closes it';

/** Those that a setting of ours closes are told, too. */
export function doors(settings: { readonly drop_ip_options: boolean }): Readonly<Record<string, Door>> {
  return {
    dead_first_packet: {
      is_open: true,
      what: 'ingress policy of a flow whose first packet ends within VPP (TTL 1, too large, no route yet) is never asked: whoever can send packets of his own making reaches isolated pods, and the host',
      step: patch,
    },
    quoted_flow: {
      is_open: true,
      what: 'an ICMP error that quotes a flow which does not exist opens that flow, whoever sends it to whomever',
      step: patch,
    },
    other_protocols: {
      is_open: true,
      what: 'only TCP, UDP, SCTP and echo requests are judged: other protocols, other ICMP, and IPv6 behind extension headers or in fragments pass',
      step: patch,
    },
    fragments: {
      is_open: true,
      what: 'ports of IPv4 fragments behind the first are not known: fragmented UDP is lost where a rule asks for ports',
      step: 'smaller datagrams; or a VPP in which it is mended',
    },
    poisoned_errors: {
      is_open: true,
      what: "one ICMP error of VPP's to an isolated pod, and packets of other protocols and all of VPP's ICMP errors are dropped on the whole node until VPP begins anew",
      step: 'end VPP once to be rid of it; or a VPP in which it is mended',
    },
    full_table: {
      is_open: true,
      what: 'new flows are not judged while the table of sessions is full',
      step: 'a larger session-max in the cnat section of VPP',
    },
    ip_options: {
      is_open: !settings.drop_ip_options,
      what: 'IPv4 packets with options go to the host past every policy',
      step: 'CALICOVPP_IP_OPTIONS=drop',
    },
  };
}
