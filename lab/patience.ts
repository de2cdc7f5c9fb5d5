/**
 * How many times longer than a machine with nothing else to do needs at most a wait lasts before it is given up. It ends by what it waits for, so
 * that a larger limit costs nothing where all is well; one that is too small makes a fault of a busy machine. A limit that is itself what a test
 * demands has no part in this.
 */
export const patience = 4;
