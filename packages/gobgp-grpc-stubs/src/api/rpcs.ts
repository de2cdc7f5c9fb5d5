import {
  address,
  bool,
  bytes,
  type Message,
  many,
  message,
  optional,
  required,
  shifted,
  text,
} from '../schema.js';
import { Global, LogLevel } from './global.js';
import {
  AddPathRequest,
  AddPathStreamRequest,
  DeletePathRequest,
  Destination,
  GetTableRequest,
  GetTableResponse,
  ListPathRequest,
} from './path.js';
import { Peer } from './peer.js';
import { DefinedSet, DefinedType, Policy, PolicyAssignment, PolicyDirection } from './policy.js';
import { WatchEventRequest, WatchEventResponse } from './watch.js';

/** The calls: GoBGP's name of each, what it takes and what it answers. What a call means is GoBGP's own affair. */

export interface Rpc<
  Request extends Message = Message,
  Response extends Message = Message,
  Stream extends boolean = boolean,
> {
  readonly name: string;
  readonly request: Request;
  readonly response: Response;
  /** It answers with any number of messages. */
  readonly stream: Stream;
}

const unary = <Q extends Message, R extends Message>(
  name: string,
  request: Q,
  response: R,
): Rpc<Q, R, false> => ({
  name,
  request,
  response,
  stream: false,
});

const stream = <Q extends Message, R extends Message>(
  name: string,
  request: Q,
  response: R,
): Rpc<Q, R, true> => ({
  name,
  request,
  response,
  stream: true,
});

/** google.protobuf.Empty in 3.x, a message of its own without fields in 4.x. */
const nothing = message('Empty', {});

const assignment = { assignment: required(1, PolicyAssignment) };
/** Without an address GoBGP takes all peers, or dies. */
const peer_address = { address: required(1, address) };
/** A text for the peer (RFC 9003). */
const with_communication = { ...peer_address, communication: optional(2, text) };

export const rpcs = {
  /** Fails where it was started already and listens; where it does not listen, tables and policies are lost. */
  startBgp: unary('StartBgp', message('StartBgpRequest', { global: required(1, Global) }), nothing),
  /** 3.x can be started again; the API of 4.x ends with it. */
  stopBgp: unary(
    'StopBgp',
    message('StopBgpRequest', { allow_graceful_restart: optional({ v4: 1 }, bool) }),
    nothing,
  ),
  getBgp: unary(
    'GetBgp',
    message('GetBgpRequest', {}),
    message('GetBgpResponse', { global: required(1, Global) }),
  ),

  addPeer: unary('AddPeer', message('AddPeerRequest', { peer: required(1, Peer) }), nothing),
  /** Idempotent from 3.15 on: before, it resets the session though nothing changed. */
  updatePeer: unary(
    'UpdatePeer',
    message('UpdatePeerRequest', { peer: required(1, Peer), do_soft_reset_in: optional(2, bool) }),
    message('UpdatePeerResponse', { needs_soft_reset_in: required(1, bool) }),
  ),
  deletePeer: unary(
    'DeletePeer',
    message('DeletePeerRequest', { address: required(1, address), interface: optional(2, text) }),
    nothing,
  ),
  listPeer: stream(
    'ListPeer',
    message('ListPeerRequest', { address: optional(1, address), enable_advertised: optional(2, bool) }),
    message('ListPeerResponse', { peer: required(1, Peer) }),
  ),
  /** `soft` keeps the session. Outwards it withdraws what is newly rejected from 4.6 on. */
  resetPeer: unary(
    'ResetPeer',
    message('ResetPeerRequest', {
      ...with_communication,
      soft: optional(3, bool),
      direction: required(4, shifted('in', 'out', 'both')),
    }),
    nothing,
  ),
  shutdownPeer: unary('ShutdownPeer', message('ShutdownPeerRequest', with_communication), nothing),
  enablePeer: unary('EnablePeer', message('EnablePeerRequest', peer_address), nothing),
  disablePeer: unary('DisablePeer', message('DisablePeerRequest', with_communication), nothing),

  addPath: unary('AddPath', AddPathRequest, message('AddPathResponse', { uuid: required(1, bytes) })),
  /** Of a path that is not there: no error. */
  deletePath: unary('DeletePath', DeletePathRequest, nothing),
  listPath: stream(
    'ListPath',
    ListPathRequest,
    message('ListPathResponse', { destination: required(1, Destination) }),
  ),
  getTable: unary('GetTable', GetTableRequest, GetTableResponse),
  watchEvent: stream('WatchEvent', WatchEventRequest, WatchEventResponse),

  /** `replace` needs 3.21, and conditions that refer to the set keep what it was: see `setPolicies`. */
  addDefinedSet: unary(
    'AddDefinedSet',
    message('AddDefinedSetRequest', {
      defined_set: required(1, DefinedSet),
      replace: optional(2, bool, '3.21'),
    }),
    nothing,
  ),
  /** Removes the entries that are given; with `all` the set, unless a statement refers to it. */
  deleteDefinedSet: unary(
    'DeleteDefinedSet',
    message('DeleteDefinedSetRequest', { defined_set: required(1, DefinedSet), all: optional(2, bool) }),
    nothing,
  ),
  listDefinedSet: stream(
    'ListDefinedSet',
    message('ListDefinedSetRequest', { defined_type: required(1, DefinedType), name: optional(2, text) }),
    message('ListDefinedSetResponse', { defined_set: required(1, DefinedSet) }),
  ),
  addPolicy: unary(
    'AddPolicy',
    message('AddPolicyRequest', {
      policy: required(1, Policy),
      refer_existing_statements: optional(2, bool),
    }),
    nothing,
  ),
  deletePolicy: unary(
    'DeletePolicy',
    message('DeletePolicyRequest', {
      policy: required(1, Policy),
      preserve_statements: optional(2, bool),
      all: optional(3, bool),
    }),
    nothing,
  ),
  listPolicy: stream(
    'ListPolicy',
    message('ListPolicyRequest', { name: optional(1, text) }),
    message('ListPolicyResponse', { policy: required(1, Policy) }),
  ),
  /**
   * Replaces all sets and policies at once. Assignments stay as they are, by the names of their policies; one whose policy
   * is missing is gone.
   */
  setPolicies: unary(
    'SetPolicies',
    message('SetPoliciesRequest', { defined_sets: many(1, DefinedSet), policies: many(2, Policy) }),
    nothing,
  ),
  addPolicyAssignment: unary(
    'AddPolicyAssignment',
    message('AddPolicyAssignmentRequest', assignment),
    nothing,
  ),
  deletePolicyAssignment: unary(
    'DeletePolicyAssignment',
    message('DeletePolicyAssignmentRequest', { ...assignment, all: optional(2, bool) }),
    nothing,
  ),
  setPolicyAssignment: unary(
    'SetPolicyAssignment',
    message('SetPolicyAssignmentRequest', assignment),
    nothing,
  ),
  listPolicyAssignment: stream(
    'ListPolicyAssignment',
    message('ListPolicyAssignmentRequest', {
      name: optional(1, text),
      direction: optional(2, PolicyDirection),
    }),
    message('ListPolicyAssignmentResponse', { assignment: required(1, PolicyAssignment) }),
  ),

  setLogLevel: unary('SetLogLevel', message('SetLogLevelRequest', { level: required(1, LogLevel) }), nothing),
} as const satisfies Record<string, Rpc>;

export type RpcName = keyof typeof rpcs;

/** The call with a stream of requests. `Gobgp.addPathStream` cuts the paths into pieces. */
export const add_path_stream = {
  name: 'AddPathStream',
  request: AddPathStreamRequest,
  response: nothing,
} as const;
