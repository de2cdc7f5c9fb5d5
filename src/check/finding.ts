/** What a check has to tell about one object. */
export interface Finding {
  readonly severity: 'ok' | 'warning' | 'error';
  /** The object: a device, a file, a variable. */
  readonly subject: string;
  readonly what: string;
  /** Both are absent when all is well. */
  readonly why?: string;
  readonly step?: string;
}

export const ok = (subject: string, what: string): Finding => ({ severity: 'ok', subject, what });
export const warning = (subject: string, what: string, why: string, step: string): Finding => ({
  severity: 'warning',
  subject,
  what,
  why,
  step,
});
export const error = (subject: string, what: string, why: string, step: string): Finding => ({
  severity: 'error',
  subject,
  what,
  why,
  step,
});
