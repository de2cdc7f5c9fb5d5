/** Which requests change VPP: what a node that adopts a VPP as it should be must not send. */

/** Questions, by how VPP names them. Whatever is not known as one counts as a change. */
const questions: readonly RegExp[] = [
  /_dump$/,
  /_get$/,
  /^show_/,
  /^control_ping$/,
  // The node asks it for `show buffers` alone.
  /^cli_inband$/,
  /^feature_is_enabled$/,
  /^classify_table_(by_interface|ids|info)$/,
  /^sw_interface_get_table$/,
  /^sw_interface_ip6_get_link_local_address$/,
  // Asks routers, and asks to be told what they say.
  /^want_ip6_ra_events$/,
  /^ip6nd_send_router_solicitation$/,
  // Answers the number of an edge that is there, and makes the one that is not.
  /^add_node_next$/,
  // Takes away what VPP does with ICMP by itself, or finds that it is gone.
  /^punt_socket_deregister$/,
];

/** The part of `/debug/vpp/api` that is needed here. */
export interface ApiCounts {
  readonly api: Readonly<Record<'prompt' | 'bulk' | 'probe', ConnectionCounts>>;
}

interface ConnectionCounts {
  readonly messages: readonly { readonly message: string; readonly sent: number }[];
}

/** `name × count` of each request that changes VPP and was sent since the session began. */
export function changesSent({ api: { prompt, bulk, probe } }: ApiCounts): string[] {
  return [prompt, bulk, probe]
    .flatMap(({ messages }) => messages)
    .filter(({ message, sent }) => sent > 0 && !questions.some((question) => question.test(message)))
    .map(({ message, sent }) => `${message} × ${sent}`);
}
