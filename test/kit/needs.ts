/**
 * What a test needs and may not have. tap writes into the options that a test is given (its name, what it is skipped for): of options that tests
 * share, one that is skipped would skip all behind it. So each test has its own.
 */

export interface TestOptions {
  skip?: string;
}

/** Options of tests that run where nothing is missing: `t.test('…', real(), …)`. `missing`: what is, as people are told. */
export function needs(missing: string | undefined): () => TestOptions {
  return () => (missing === undefined ? {} : { skip: missing });
}
