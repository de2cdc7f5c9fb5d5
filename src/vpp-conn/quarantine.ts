/**
 * Which owners' programming may be what kills VPP. An owner whose transaction was under way when VPP died is a suspect; a
 * suspect is programmed alone next time, so that a second death convicts it and nobody else. Convicted owners are held
 * until what they ask for changes.
 */
import { createHash } from 'node:crypto';
import type { Transaction } from '../messages/vpp.js';

/** VPP died twice while this owner was programmed. */
export class QuarantinedError extends Error {
  override readonly name = 'QuarantinedError';
  readonly code = 'quarantined';
}

/** Deaths that convict. */
const deaths_max = 2;
/** More suspects than this are not remembered: a VPP that dies under everything is not one owner's fault. */
const suspects_max = 4096;

interface Suspicion {
  deaths: number;
  readonly fingerprint: string;
}

export class Quarantine {
  private readonly suspicions = new Map<string, Suspicion>();

  /** The connection was lost while this transaction was under way. */
  suspect(transaction: Transaction): void {
    if (transaction.essential === true) return;
    const fingerprint = fingerprintOf(transaction);
    const known = this.suspicions.get(transaction.owner);
    if (known?.fingerprint === fingerprint) known.deaths += 1;
    else if (this.suspicions.size < suspects_max)
      this.suspicions.set(transaction.owner, { deaths: 1, fingerprint });
  }

  /** VPP did it and lived. */
  acquit(transaction: Transaction): void {
    const known = this.suspicions.get(transaction.owner);
    if (known !== undefined && known.deaths < deaths_max) this.suspicions.delete(transaction.owner);
  }

  suspects(transaction: Transaction): boolean {
    return this.suspicions.has(transaction.owner);
  }

  /** True while the owner asks for the very operations that killed VPP. */
  holds(transaction: Transaction): boolean {
    const known = this.suspicions.get(transaction.owner);
    if (known === undefined || known.deaths < deaths_max) return false;
    if (known.fingerprint === fingerprintOf(transaction)) return true;
    this.suspicions.delete(transaction.owner);
    return false;
  }

  list(): string[] {
    return [...this.suspicions].flatMap(([owner, { deaths }]) => (deaths >= deaths_max ? [owner] : []));
  }
}

function fingerprintOf(transaction: Transaction): string {
  return createHash('sha256').update(JSON.stringify(transaction.operations)).digest('base64').slice(0, 16);
}
