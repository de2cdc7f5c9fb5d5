/** Follows what gobgpd tells of its best paths and its peers, until the session is over. */
import type { RemoteTable } from './remote-table.js';
import type { RemoteTeller } from './remote-teller.js';
import type { BgpSession } from './session.js';

export interface FollowOptions {
  readonly session: BgpSession;
  readonly table: RemoteTable;
  readonly teller: RemoteTeller;
  /** With so many changes that connectivity has not taken in, gobgpd is not read on. */
  readonly unsent_max: number;
  /** Paths have come. */
  readonly heard: () => void;
  /** gobgpd has told its table. */
  readonly told: () => void;
  /** Something has become of a peer. */
  readonly changed: () => void;
  /** It ends, and not because the session is over. */
  readonly failed: (reason: string) => void;
}

export function follow({ session, table, teller, unsent_max, ...tell }: FollowOptions): void {
  const { gobgp, signal } = session;
  table.begin();
  const read = async (): Promise<void> => {
    for await (const event of gobgp.watch({ peers: true, best: true, brief: true }, { signal })) {
      if (signal.aborted) return;
      if (event.type === 'paths') {
        tell.heard();
        table.take(event);
        const sent = teller.send();
        // What comes while connectivity takes in what came before goes with the next message.
        if (table.unsent >= unsent_max) await sent;
      } else if (event.type === 'paths_complete') {
        session.complete = true;
        table.complete();
        teller.send();
        tell.told();
      } else if (event.type === 'peer' && !event.initial) tell.changed();
    }
  };
  const over = (reason: string): void => {
    if (!signal.aborted) tell.failed(reason);
  };
  read().then(
    () => over('gobgpd has ended the watch of its table'),
    (error: Error) => over(error.message),
  );
}
