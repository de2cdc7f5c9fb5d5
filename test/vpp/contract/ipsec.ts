/** IKE's profiles. Nobody answers, so that no tunnel comes up in either VPP: what the stand-in has instead of peers is no part of this. */
import {
  ikev2_initiate_sa_init,
  ikev2_profile_add_del,
  ikev2_profile_dump,
  ikev2_profile_set_auth,
  ikev2_profile_set_id,
  ikev2_profile_set_liveness,
  ikev2_profile_set_ts,
  ikev2_sa_dump,
  ikev2_set_esp_transforms,
  ikev2_set_ike_transforms,
  ikev2_set_responder,
  ikev2_set_tunnel_interface,
} from 'vpp-binapi-ts/ikev2';
import {
  address,
  ask,
  interfaces,
  ipip,
  ipips,
  no_ipip,
  none,
  type Sequence,
  table,
  tap,
  up,
} from './steps.js';

const profile = (name: string, is_add = true) => ask(ikev2_profile_add_del, { name, is_add });
const tunnel = (name: string, sw_if_index: number) => ask(ikev2_set_tunnel_interface, { name, sw_if_index });
const id = (name: string, is_local: boolean, id_type: number, ...data: number[]) =>
  ask(ikev2_profile_set_id, { name, is_local, id_type, data: Uint8Array.from(data) });
const selector = (name: string, is_local: boolean, start_addr: string, end_addr: string) =>
  ask(ikev2_profile_set_ts, {
    name,
    ts: {
      start_addr,
      end_addr,
      sa_index: 0,
      child_sa_index: 0,
      is_local,
      protocol_id: 0,
      start_port: 0,
      end_port: 65_535,
    },
  });
const key = (name: string, text: string) =>
  ask(ikev2_profile_set_auth, { name, auth_method: 2, is_hex: false, data: new TextEncoder().encode(text) });
const responder = (name: string, sw_if_index: number, addr: string) =>
  ask(ikev2_set_responder, { name, responder: { sw_if_index, addr } });
const ike = (name: string, crypto_alg: number, integ_alg: number) =>
  ask(ikev2_set_ike_transforms, {
    name,
    tr: { crypto_alg, crypto_key_size: 256, integ_alg, prf_alg: 5, dh_group: 14 },
  });
const esp = (name: string) =>
  ask(ikev2_set_esp_transforms, { name, tr: { crypto_alg: 20, crypto_key_size: 256, integ_alg: 0 } });
const liveness = (period: number, max_retries: number) =>
  ask(ikev2_profile_set_liveness, { period, max_retries });
const begin = (name: string) => ask(ikev2_initiate_sa_init, { name });
const profiles = ask(ikev2_profile_dump, {});
const sas = ask(ikev2_sa_dump, {});

const two = 'node-10.0.0.2';
const six = 'node-fd00::2';
const aes_cbc = 12;
const aes_gcm = 20;
const sha1 = 2;

export const sequences: readonly Sequence[] = [
  {
    name: 'IKE: the profile of an end that waits',
    steps: [
      tap(),
      address(1, '10.0.0.5/24'),
      up(1),
      ipip('10.0.0.5', '10.0.0.9'),
      profiles,
      sas,
      profile('node-10.0.0.9'),
      profile('node-10.0.0.9'),
      profiles,
      tunnel('node-10.0.0.9', 2),
      id('node-10.0.0.9', true, 1, 10, 0, 0, 5),
      id('node-10.0.0.9', false, 1, 10, 0, 0, 9),
      selector('node-10.0.0.9', true, '0.0.0.0', '255.255.255.255'),
      selector('node-10.0.0.9', false, '0.0.0.0', '255.255.255.255'),
      liveness(2, 3),
      profiles,
      begin('node-10.0.0.9'),
      sas,
      interfaces(),
      profile('node-10.0.0.9', false),
      profile('node-10.0.0.9', false),
      profiles,
      no_ipip(2),
    ],
  },
  {
    name: 'IKE: what a profile refuses',
    steps: [
      profile(two, false),
      tunnel(two, none),
      tunnel(two, 0),
      id(two, true, 1, 10, 0, 0, 5),
      selector(two, true, '0.0.0.0', '255.255.255.255'),
      key(two, 'a key'),
      responder(two, 1, '10.0.0.2'),
      ike(two, aes_cbc, sha1),
      esp(two),
      begin(two),
      profile(two, false),
      liveness(0, 3),
      liveness(2, 0),
      profile(two),
      tunnel(two, 9),
      id(two, true, 11, 1),
      id(two, true, 1),
      selector(two, true, '0.0.0.0', 'ffff::'),
      key(two, ''),
      ike(two, aes_cbc, 0),
      ike(two, aes_gcm, sha1),
      profiles,
    ],
  },
  {
    name: 'IKE: the profile of an end that begins, by either family, and another key',
    steps: [
      tap(),
      address(1, '10.0.0.5/24'),
      address(1, 'fd00::5/64'),
      up(1),
      ipip('10.0.0.5', '10.0.0.2'),
      ipip('fd00::5', 'fd00::2'),
      ...[two, six].map((name) => profile(name)),
      tunnel(two, 2),
      tunnel(six, 3),
      id(two, true, 1, 10, 0, 0, 5),
      id(six, false, 5, 0xfd, ...Array.from({ length: 14 }, () => 0), 2),
      selector(six, true, '::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'),
      responder(two, 1, '10.0.0.2'),
      responder(six, 1, 'fd00::2'),
      ike(two, aes_cbc, sha1),
      esp(two),
      key(two, 'a key'),
      profiles,
      key(two, 'another key'),
      profiles,
      profile(two, false),
      profile(six, false),
      profiles,
    ],
  },
  {
    name: 'IPIP: the same ends in two tables',
    steps: [
      ipip('10.0.0.5', '10.0.0.9', { table_id: 5 }),
      table(5, false, 'ipsec-ip4'),
      ipip('10.0.0.5', '10.0.0.9', { table_id: 5 }),
      ipip('10.0.0.5', '10.0.0.9', { table_id: 5 }),
      ipip('10.0.0.5', '10.0.0.9'),
      ipips(),
      no_ipip(1),
      ipips(),
    ],
  },
  {
    name: 'IKE: a request about a profile before there was any',
    steps: [profiles, sas, liveness(2, 3), id(two, true, 1, 10, 0, 0, 5)],
    dies: true,
  },
];
