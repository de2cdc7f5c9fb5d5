/** Redirect tables and rules, back from VPP. */
import {
  classify_session_dump,
  classify_table_ids,
  classify_table_info,
  punt_acl_get,
} from 'vpp-binapi-ts/classify';
import type { Family } from '../../ip/text.js';
import type { VppObject } from '../../objects/object.js';
import {
  optionsMask,
  optionsMatches,
  protocolMask,
  protocolMatches,
  redirectFrom,
  redirectMask,
} from '../redirect-match.js';
import { families, type Reader } from './reader.js';

export interface ObservedRedirects {
  readonly rules: readonly VppObject[];
  /** Each with VPP's index of it. */
  readonly tables: readonly (readonly [object: VppObject, index: number])[];
}

/** Classifier tables have no name: ours have our mask. */
export async function observeRedirects(reader: Reader): Promise<ObservedRedirects> {
  const ids = (await reader.ask(classify_table_ids, {}))?.ids ?? [];
  const punt_table = ids.length === 0 ? undefined : (await reader.ask(punt_acl_get, {}))?.ip4_table_index;
  const infos = await reader.askAll(
    classify_table_info,
    ids.map((table_id) => ({ table_id })),
  );
  const observed = await Promise.all(
    infos.map(async (info) => {
      const family = families.find(
        (each) => info !== undefined && Buffer.compare(redirectMask(each), info.mask) === 0,
      );
      if (family === undefined || info === undefined) return undefined;
      const sessions = await reader.dump(classify_session_dump, { table_id: info.table_id });
      const rules = sessions.flatMap(({ match }): VppObject[] => {
        const rule = redirectFrom(family, match);
        return rule === undefined ? [] : [{ kind: 'redirect_rule', ...rule, interface: '', next_hop: '' }];
      });
      return { rules, table: [{ kind: 'redirect_table', family }, info.table_id] as const };
    }),
  );
  const ours = observed.flatMap((each) => each ?? []);
  const guard = infos.find((info) => info !== undefined && info.table_id === punt_table && isGuard(info));
  const guards = guard === undefined ? [] : [[{ kind: 'punt_guard' }, guard.table_id] as const];
  const protocols = families.flatMap((family) => {
    const info = infos.find((each) => each !== undefined && isProtocolTable(family, each));
    return info === undefined ? [] : [[{ kind: 'protocol_table', family }, info.table_id] as const];
  });
  return {
    rules: ours.flatMap(({ rules }) => rules),
    tables: [...ours.map(({ table }) => table), ...guards, ...protocols],
  };
}

/** One that lacks a session is made anew. */
function isProtocolTable(family: Family, { mask, active_sessions }: TableInfo): boolean {
  return (
    Buffer.compare(protocolMask(family), mask) === 0 && active_sessions === protocolMatches(family).length
  );
}

interface TableInfo {
  readonly mask: Uint8Array;
  readonly active_sessions: number;
}

/** One that lacks a session is made anew. */
function isGuard({ mask, active_sessions }: TableInfo): boolean {
  return Buffer.compare(optionsMask(), mask) === 0 && active_sessions === optionsMatches().length;
}
