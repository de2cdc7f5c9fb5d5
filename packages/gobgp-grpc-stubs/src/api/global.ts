import {
  address,
  bool,
  type Input,
  i32,
  ipv4,
  many,
  message,
  type Output,
  optional,
  required,
  shifted,
  text,
  u32,
} from '../schema.js';
import { ApplyPolicy, GracefulRestart } from './peer.js';

/** The speaker as a whole. */
export const Global = message('Global', {
  /** 0: not started. */
  asn: required(1, u32),
  /** An IPv4 address, whatever the families. */
  router_id: required(2, ipv4),
  /** -1: does not listen; 0: 179. */
  listen_port: optional(3, i32),
  listen_addresses: many(4, address),
  use_multiple_paths: optional(6, bool),
  graceful_restart: optional(10, GracefulRestart),
  apply_policy: optional({ v3: 11 }, ApplyPolicy),
  bind_to_device: optional({ v3: 12, v4: 11 }, text),
});
export type Global = Output<typeof Global>;
export type GlobalInput = Input<typeof Global>;

export const LogLevel = shifted('panic', 'fatal', 'error', 'warn', 'info', 'debug', 'trace');
