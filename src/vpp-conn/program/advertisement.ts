/** Router advertisements that VPP sends. */
import { sw_interface_ip6nd_ra_config, sw_interface_ip6nd_ra_prefix } from 'vpp-binapi-ts/ip6_nd';
import type { ObjectOf } from '../../objects/object.js';
import { type Call, call } from '../call.js';
import type { Handles } from '../handles.js';
import { none, type Programs } from './common.js';

/** VPP's own defaults, in seconds. */
const interval_s_max = 200;
const interval_s_min = 4;

export const advertisement: Programs<'ra_config' | 'ra_prefix'> = {
  ra_config: {
    // `is_no` clears each flag that is named, a request without it sets them: what is not named stays. VPP refuses a lifetime that is not
    // longer than the interval.
    add: (o, at) => {
      const sw_if_index = at.interface(o.interface);
      const { interval_s, lifetime_s } = timesOf(o.lifetime_s);
      return [
        raConfig(sw_if_index, {
          is_no: true,
          suppress: 1,
          managed: Number(!o.managed),
          other: Number(!o.other),
        }),
        raConfig(sw_if_index, {
          managed: Number(o.managed),
          other: Number(o.other),
          default_router: 1,
          lifetime: lifetime_s,
          max_interval: interval_s,
        }),
      ];
    },
    remove: () => none,
  },
  ra_prefix: {
    add: (o, at) => [raPrefix(o, at, false)],
    remove: (o, at) => [raPrefix(o, at, true)],
  },
};

function raPrefix(o: ObjectOf<'ra_prefix'>, at: Handles, is_no: boolean): Call {
  return call(sw_interface_ip6nd_ra_prefix, {
    sw_if_index: at.interface(o.interface),
    prefix: o.prefix,
    use_default: false,
    no_advertise: false,
    off_link: false,
    no_autoconfig: !o.autonomous,
    no_onlink: !o.on_link,
    is_no,
    val_lifetime: o.valid_s,
    pref_lifetime: o.preferred_s,
  });
}

/** A third of the lifetime, within what VPP takes. */
function timesOf(lifetime_s: number): { readonly interval_s: number; readonly lifetime_s: number } {
  if (lifetime_s === 0) return { interval_s: interval_s_max, lifetime_s };
  const interval_s = Math.min(interval_s_max, Math.max(interval_s_min, Math.floor(lifetime_s / 3)));
  return { interval_s, lifetime_s: Math.max(lifetime_s, interval_s + 1) };
}

function raConfig(
  sw_if_index: number,
  fields: Partial<Parameters<typeof sw_interface_ip6nd_ra_config.encode>[2]>,
): Call {
  return call(sw_interface_ip6nd_ra_config, {
    sw_if_index,
    suppress: 0,
    managed: 0,
    other: 0,
    ll_option: 0,
    send_unicast: 0,
    cease: 0,
    is_no: false,
    default_router: 0,
    max_interval: 0,
    min_interval: 0,
    lifetime: 0,
    initial_count: 0,
    initial_interval: 0,
    ...fields,
  });
}
