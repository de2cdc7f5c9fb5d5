/**
 * What leads to other nodes by SRv6: of the policies that are told of a node the best one for each family, and what is steered into it. Kept in place. Pure.
 *
 * A policy of VPP's is never changed: one that says something else gets another binding SID, what goes by the old one moves, and that one goes. The
 * binding SID that is asked for is taken where it is free: it means nothing to anybody but this VPP.
 */
import { bitsOf, holds } from '../ip/bits.js';
import { type Family, familyOf } from '../ip/text.js';
import { listsText, type Srv6Policy, type Srv6Steering } from '../objects/srv6.js';
import { type NodeEnds, NodesByEnds } from './node-ends.js';
import type { Sink } from './sink.js';
import { type Candidate, candidateOf, goesFirst, srPolicyName, srPolicyTitle } from './sr-policy.js';
import { type Srv6Pools, srv6_headers_bytes, srv6HeadersOf, within } from './srv6.js';
import { hostPrefix, srv6_table } from './tables.js';

/** What this node has for it; absent: it does without SRv6. */
export interface Srv6Settings extends Srv6Pools {
  /** Own IPv6 address. */
  readonly source: string;
  readonly own_sids: readonly string[];
}

/** What it asks of who knows pools and routes. */
export interface PolicyRoutes {
  /** Pods have it: it would be steered again, and VPP wraps it till it dies. */
  isOfPods(address: string): boolean;
  /** What is sent to this node itself is steered, or is no more. */
  hostSteered(address: string, is_steered: boolean, sink: Sink): void;
}

/** The way to one node for one family. */
export interface Course {
  readonly endpoint: string;
  readonly family: Family;
  /** By which it goes; undefined: none of it can be used. */
  policy: Srv6Policy | undefined;
  /** Prefixes that are steered into it. */
  readonly prefixes: Set<string>;
  /** VPP makes none that leads by these lists, whatever its binding SID: what is announced by this key waits until it says otherwise. */
  given_up: { readonly key: string; readonly lists: string; readonly why: string } | undefined;
  /** Of the node itself. */
  host: { readonly address: string; readonly object: Srv6Steering } | undefined;
}

interface Told {
  readonly text: string;
  readonly candidate: Candidate | undefined;
  readonly fault: string | undefined;
}

/** A policy, and the courses that go by it: nodes may have one together. */
interface Chosen {
  readonly policy: Srv6Policy;
  readonly courses: Set<Course>;
}

const families: readonly Family[] = [4, 6];
/** Binding SIDs that are looked at for a free one. */
const tries_max = 64;
/** Of those that VPP refuses so many are remembered; for one more no other is looked for. */
const refused_max = 1024;

export class RemotePolicies {
  readonly #told = new Map<string, Told>();
  /** Keys by endpoint. */
  readonly #by_endpoint = new Map<string, Set<string>>();
  readonly #nodes = new NodesByEnds();
  readonly #courses = new Map<string, Course>();
  /** By binding SID: what is chosen, or will be gone behind what is planned. */
  readonly #policies = new Map<string, Chosen>();
  /** Endpoints whose policies are to be chosen anew. */
  readonly #touched = new Set<string>();
  /** Wanted no more, when what goes by them is wanted elsewhere. */
  readonly #leaving = new Map<string, Srv6Policy>();
  #settings: Srv6Settings | undefined;
  /** Undefined: to be counted. */
  #faulty: number | undefined;
  /** Binding SIDs of which this VPP makes no policy: somebody has a route to them. */
  readonly #refused = new Set<string>();
  readonly #routes: PolicyRoutes;

  constructor(routes: PolicyRoutes) {
    this.#routes = routes;
  }

  /** Answers the next hops whose routes may go another way by now. */
  set(key: string, text: string | undefined): readonly string[] {
    const before = this.#told.get(key);
    if (before?.text === text) return [];
    this.#faulty = undefined;
    const { endpoint } = srPolicyName(key);
    const keys = this.#by_endpoint.get(endpoint) ?? new Set();
    if (text === undefined) {
      this.#told.delete(key);
      keys.delete(key);
    } else {
      const judged = candidateOf(key, text);
      const is_fault = typeof judged === 'string';
      this.#told.set(key, {
        text,
        candidate: is_fault ? undefined : judged,
        fault: is_fault ? judged : undefined,
      });
      keys.add(key);
    }
    if (keys.size === 0) this.#by_endpoint.delete(endpoint);
    else this.#by_endpoint.set(endpoint, keys);
    this.#touched.add(endpoint);
    return this.#nodes.addressesOf(endpoint);
  }

  /** Likewise: this node has these addresses. */
  setNode(name: string, node: NodeEnds | undefined): readonly string[] {
    const { before, changed } = this.#nodes.set(name, node);
    for (const endpoint of [before?.ip6, node?.ip6]) if (endpoint !== undefined) this.#touched.add(endpoint);
    return changed;
  }

  /** All of it may be another: the own node, or what the pools hold. */
  setSettings(settings: Srv6Settings | undefined): void {
    this.#settings = settings;
    this.touchAll();
  }

  touchAll(): void {
    this.#faulty = undefined;
    for (const endpoint of this.#by_endpoint.keys()) this.#touched.add(endpoint);
    for (const { endpoint } of this.#courses.values()) this.#touched.add(endpoint);
  }

  /** To VPP this binding SID is taken: another one is tried. Answers the next hops whose routes may go another way by now. */
  setRefused(bsid: string): readonly string[] {
    if (!this.#policies.has(bsid)) return [];
    if (this.#refused.size === refused_max)
      return this.giveUp(
        bsid,
        `VPP has refused ${refused_max} binding SIDs: see who has routes to policyPool`,
      );
    this.#refused.add(bsid);
    return this.#touchBy(bsid);
  }

  /** VPP does not make the policy that has this binding SID, and would not by another one: what goes by it goes as the pool says. Answers likewise. */
  giveUp(bsid: string, why: string): readonly string[] {
    const chosen = this.#policies.get(bsid);
    for (const course of chosen?.courses ?? []) {
      const { endpoint, family } = course;
      const key = this.#best(endpoint, family)?.key;
      if (key !== undefined) course.given_up = { key, lists: listsText(chosen!.policy.lists), why };
    }
    this.#faulty = undefined;
    return this.#touchBy(bsid);
  }

  /** Another VPP refuses what it refuses. */
  forgetRefusals(): void {
    this.#refused.clear();
    for (const course of this.#courses.values()) course.given_up = undefined;
    this.touchAll();
  }

  #touchBy(bsid: string): readonly string[] {
    const endpoints = [...(this.#policies.get(bsid)?.courses ?? [])].map(({ endpoint }) => endpoint);
    for (const endpoint of endpoints) this.#touched.add(endpoint);
    return endpoints.flatMap((endpoint) => this.#nodes.addressesOf(endpoint));
  }

  /** What is told under this key. */
  told(key: string): string | undefined {
    return this.#told.get(key)?.text;
  }

  /** Of all that is told. */
  keys(): Iterable<string> {
    return this.#told.keys();
  }

  /** Where SIDs and binding SIDs are: what leads there is not steered. */
  isReserved(prefix: string): boolean {
    if (this.#settings === undefined || familyOf(prefix) === 4) return false;
    const { localsid_pool, policy_pool } = this.#settings;
    const bits = bitsOf(prefix);
    return [localsid_pool, policy_pool].some(
      (pool) => holds(bitsOf(pool), bits) || holds(bits, bitsOf(pool)),
    );
  }

  /** Chooses anew, where something is told otherwise. Answers the next hops whose routes are to be looked at. */
  plan(sink: Sink): readonly string[] {
    const changed: string[] = [];
    for (const endpoint of this.#touched) {
      for (const family of families)
        if (this.#choose(endpoint, family, sink)) changed.push(...this.#nodes.addressesOf(endpoint));
    }
    this.#touched.clear();
    return changed;
  }

  /** Behind the routes: what nothing goes by any more. */
  planEnd(sink: Sink): void {
    for (const [bsid, policy] of [...this.#leaving]) {
      this.#leaving.delete(bsid);
      const chosen = this.#policies.get(bsid);
      if (chosen === undefined || ![...chosen.courses].some(isUsed)) sink.unwant(policy);
      this.#release(bsid);
    }
  }

  /** How packets of this family go to a node by this next hop; undefined: not by SRv6. */
  courseTo(next_hop: string, family: Family): Course | undefined {
    if (this.#settings === undefined) return undefined;
    const endpoint = familyOf(next_hop) === 6 ? next_hop : this.#nodes.of(next_hop)?.ip6;
    const course = endpoint === undefined ? undefined : this.#courses.get(courseKey(endpoint, family));
    return course?.policy === undefined ? undefined : course;
  }

  /** Answers what is wanted for it. */
  steer(prefix: string, course: Course, sink: Sink): Srv6Steering {
    const { policy } = course;
    if (policy === undefined) throw new Error(`no policy leads to ${course.endpoint}`);
    if (!isUsed(course)) sink.want(policy);
    course.prefixes.add(prefix);
    this.#steerHost(course, sink);
    const steering = steeringOf(prefix, policy.bsid);
    sink.want(steering);
    return steering;
  }

  /** The prefix goes by it no more. */
  leave(prefix: string, course: Course, sink: Sink): void {
    if (!course.prefixes.delete(prefix) || isUsed(course)) return;
    this.#steerHost(course, sink);
    if (course.policy !== undefined) this.#leaving.set(course.policy.bsid, course.policy);
    this.#forget(course);
  }

  // --- which policy

  /** True: it goes by another one. */
  #choose(endpoint: string, family: Family, sink: Sink): boolean {
    const key = courseKey(endpoint, family);
    const known = this.#courses.get(key);
    const candidate = this.#best(endpoint, family);
    if (candidate === undefined && known === undefined) return false;
    const course: Course = known ?? {
      endpoint,
      family,
      policy: undefined,
      prefixes: new Set(),
      given_up: undefined,
      host: undefined,
    };
    this.#courses.set(key, course);
    const before = course.policy;
    if (candidate === undefined || course.given_up?.lists !== listsText(candidate.lists))
      course.given_up = undefined;
    const is_open = candidate !== undefined && course.given_up === undefined;
    const now = is_open ? this.#policyOf(candidate, before, sink) : undefined;
    // Another node may have taken, or lost, an address by which this one is reached.
    if (now === before) {
      if (isUsed(course)) this.#steerHost(course, sink);
      this.#forget(course);
      return false;
    }
    course.policy = now;
    if (now !== undefined) {
      const chosen = this.#policies.get(now.bsid) ?? { policy: now, courses: new Set() };
      this.#policies.set(now.bsid, chosen);
      chosen.courses.add(course);
    }
    if (before !== undefined) this.#policies.get(before.bsid)?.courses.delete(course);
    if (isUsed(course)) {
      if (now !== undefined) sink.want(now);
      this.#steerHost(course, sink);
      if (before !== undefined) this.#leaving.set(before.bsid, before);
    } else if (before !== undefined) this.#release(before.bsid);
    this.#forget(course);
    return true;
  }

  #best(endpoint: string, family: Family): Candidate | undefined {
    if (this.#settings === undefined || endpoint === this.#settings.source) return undefined;
    let best: Candidate | undefined;
    for (const key of this.#by_endpoint.get(endpoint) ?? []) {
      const candidate = this.#told.get(key)?.candidate;
      if (candidate === undefined || !candidate.families.includes(family)) continue;
      if (this.#misled(candidate) !== undefined) continue;
      if (best === undefined || goesFirst(candidate, best)) best = candidate;
    }
    return best;
  }

  /** Its packets would come round. */
  #misled({ lists }: Candidate): string | undefined {
    for (const { sids } of lists)
      for (const sid of sids) {
        if (this.#settings?.own_sids.includes(sid) || sid === this.#settings?.source)
          return `its segment ${sid} is an address of this node: see who announces it`;
        if (this.#settings !== undefined && isOfPolicies(sid, this.#settings))
          return `its segment ${sid} lies in policyPool of CALICOVPP_SRV6, whose addresses lead to policies of this node: keep SIDs apart from binding SIDs`;
        if (this.#routes.isOfPods(sid) && !this.isReserved(hostPrefix(sid)))
          return `its segment ${sid} lies in an IP pool whose addresses are steered themselves: keep SIDs apart from pods`;
      }
    return undefined;
  }

  #policyOf(
    { key, bsid: asked, lists }: Candidate,
    before: Srv6Policy | undefined,
    sink: Sink,
  ): Srv6Policy | undefined {
    const { source, policy_pool } = this.#settings!;
    const text = textOf(source, lists);
    if (
      before !== undefined &&
      !this.#refused.has(before.bsid) &&
      textOf(before.source, before.lists) === text
    )
      return before;
    for (let turn = 0; turn < tries_max; turn += 1) {
      const own = within(policy_pool, `${key} ${text} ${turn}`);
      const bsid = turn === 0 && asked !== undefined && this.#mayBe(asked) ? asked : own;
      if (this.#refused.has(bsid)) continue;
      const taken = this.#policies.get(bsid)?.policy;
      if (taken !== undefined) {
        if (textOf(taken.source, taken.lists) === text) return taken;
        continue;
      }
      const policy: Srv6Policy = { kind: 'srv6_policy', bsid, source, lists };
      // What is still steered into the one of before would go where this one leads, or the other way round.
      if (sink.hasOther?.(policy) !== true) return policy;
    }
    return undefined;
  }

  /** Nobody else has this address: it is of the pool that is for that. */
  #mayBe(bsid: string): boolean {
    return familyOf(bsid) === 6 && holds(bitsOf(this.#settings!.policy_pool), bitsOf(bsid));
  }

  /** Its binding SID is free, if nothing goes by it. */
  #release(bsid: string): void {
    if (!this.#leaving.has(bsid) && this.#policies.get(bsid)?.courses.size === 0) this.#policies.delete(bsid);
  }

  /** What pods send to the node itself goes as what they send to its pods: nobody between the two need know where pods are. */
  #steerHost(course: Course, sink: Sink): void {
    const { endpoint, family, policy, host: before } = course;
    const address = family === 6 ? endpoint : this.#nodes.of(endpoint)?.ip4;
    const is_wanted = address !== undefined && policy !== undefined && isUsed(course);
    const now = is_wanted ? { address, object: steeringOf(hostPrefix(address), policy.bsid) } : undefined;
    if (before?.address === now?.address && before?.object.bsid === now?.object.bsid) return;
    course.host = now;
    if (now !== undefined) {
      sink.want(now.object);
      this.#routes.hostSteered(now.address, true, sink);
    }
    if (before === undefined || before.address === now?.address) return;
    this.#routes.hostSteered(before.address, false, sink);
    sink.unwant(before.object);
  }

  #forget({ endpoint, family, policy, given_up, prefixes }: Course): void {
    if (policy === undefined && given_up === undefined && prefixes.size === 0)
      this.#courses.delete(courseKey(endpoint, family));
  }

  // --- for people

  get counts() {
    this.#faulty ??= [...this.faults()].length;
    let policies = 0;
    for (const { courses } of this.#policies.values()) if ([...courses].some(isUsed)) policies += 1;
    return { policies, faulty: this.#faulty };
  }

  /** By object, what is wrong with it and what to do. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    if (this.#settings === undefined) return;
    for (const [key, { candidate, fault }] of this.#told) {
      const name = srPolicyName(key);
      if (name.endpoint === this.#settings.source) continue;
      const why = fault ?? (candidate && this.#misled(candidate));
      const title = srPolicyTitle(name);
      if (why !== undefined) yield [title, `is not used: ${why}`];
      else if (candidate !== undefined) yield* tooLong(title, candidate);
    }
    for (const { given_up } of this.#courses.values()) {
      if (given_up === undefined) continue;
      const title = srPolicyTitle(srPolicyName(given_up.key));
      yield [title, `is not used until it is announced otherwise, or VPP is another: ${given_up.why}`];
    }
  }

  /** Of each node how packets go there by SRv6, and why they do not. By its name, or its address. */
  *status(): Iterable<readonly [node: string, text: string]> {
    if (this.#settings === undefined) return;
    const { source } = this.#settings;
    const told = new Set(this.#by_endpoint.keys());
    for (const [name, { ip6 }] of this.#nodes.all()) {
      if (ip6 === source) continue;
      if (ip6 === undefined) yield [name, 'has no IPv6 address, to which a policy could lead: give it one'];
      else if (!told.has(ip6))
        yield [
          name,
          'has announced no SR policy: see its CALICOVPP_FEATURE_GATES (srv6Enabled), and the BGP sessions to it',
        ];
    }
    for (const endpoint of told) {
      if (endpoint === source) continue;
      const texts = families.map((family) => {
        const course = this.#courses.get(courseKey(endpoint, family));
        if (course?.policy === undefined) return `IPv${family}: no policy can be used`;
        const { bsid, lists } = course.policy;
        const by = lists.map(({ sids }) => sids.join(' ')).join(', or ');
        return `IPv${family}: ${course.prefixes.size} prefixes by ${by} (binding SID ${bsid})`;
      });
      yield [this.#nodes.nameOf(endpoint) ?? endpoint, texts.join('; ')];
    }
  }
}

function* tooLong(title: string, { lists }: Candidate): Iterable<readonly [object: string, text: string]> {
  const headers = srv6HeadersOf(Math.max(...lists.map(({ sids }) => sids.length)));
  if (headers <= srv6_headers_bytes) return;
  yield [
    title,
    `puts ${headers} bytes around each packet, and pods leave ${srv6_headers_bytes} of the uplink's MTU free: packets that are as long as they may be are lost; set mtu of the CNI configuration to that of the uplink less ${headers}, or announce fewer segments`,
  ];
}

const courseKey = (endpoint: string, family: Family): string => `${family} ${endpoint}`;
/** Where the two pools are apart. */
const isOfPolicies = (sid: string, { localsid_pool, policy_pool }: Srv6Pools): boolean =>
  holds(bitsOf(policy_pool), bitsOf(sid)) && !holds(bitsOf(localsid_pool), bitsOf(sid));
const isUsed = ({ prefixes }: Course): boolean => prefixes.size > 0;
const textOf = (source: string, lists: Srv6Policy['lists']): string => `${source} ${listsText(lists)}`;
const steeringOf = (prefix: string, bsid: string): Srv6Steering => ({
  kind: 'srv6_steering',
  table_id: srv6_table,
  prefix,
  bsid,
});
