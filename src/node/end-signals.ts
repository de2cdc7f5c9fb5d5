/** Those by which this process is asked to end: by the kubelet, by a terminal, by one that has gone. */
const end_signals = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP'] as const;

/**
 * From now on they end the process no more. They are heard: the first aborts what is answered, with its name as the reason. To be called
 * before anything of the host is changed or undone, which is not to be broken off.
 */
export function endSignals(): AbortSignal {
  const asked = new AbortController();
  for (const signal of end_signals) process.on(signal, () => asked.abort(signal));
  return asked.signal;
}
