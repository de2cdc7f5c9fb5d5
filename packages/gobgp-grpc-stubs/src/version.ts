/** The two dialects of GoBGP's API: `apipb.GobgpApi` of 3.x, `api.GoBgpService` of 4.x. */
export type Dialect = 3 | 4;

/** What is known of the daemon's version. No call tells it: the dialect is seen, the minor version is what the caller says. */
export interface Version {
  readonly major: Dialect;
  /** Undefined: not known. What came with a later minor version than .0 is then not used. */
  readonly minor: number | undefined;
}

/**
 * The version in the words of `gobgpd --version` ("gobgpd version 3.10.0"), or alone ("3.10.0").
 * Undefined where there is none, or one that has neither dialect.
 */
export function parseVersion(text: string): Version | undefined {
  const [, major, minor] = /\b(\d+)\.(\d+)(?:\.\d+)?\b/.exec(text) ?? [];
  if (major !== '3' && major !== '4') return undefined;
  return { major: major === '3' ? 3 : 4, minor: Number(minor) };
}

/** Whether a daemon of this version surely has what came with `since`. */
export function has(version: Version, since: string): boolean {
  const [major = 0, minor = 0] = since.split('.').map(Number);
  return version.major > major || (version.major === major && (version.minor ?? 0) >= minor);
}
