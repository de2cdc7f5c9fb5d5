/** Whose doing VPP's death was, as far as the stack that it writes when it dies tells. Pure. */

/** A frame: `#0  0x00007fbf0457ad60 memif_msg_receive + 0xa0`, and in the next line `from …/memif_plugin.so`. */
const innermost = /^#0 .*\n\s*from \S*\/([^/\s]+)$/m;
/** Of what VPP does for a request of its API. */
const of_request = /\bvl_(?:api|msg)_|msg_handler/;

/**
 * True: VPP died in its memif plugin, and not over a request: a program at the other end of a memif has sent it what it does not survive
 * (docs/fast-paths.md). `output`: what VPP wrote last, without colours.
 */
export function isOfMemifPeer(output: string): boolean {
  const at = output.lastIndexOf('received signal');
  if (at < 0) return false;
  const stack = output.slice(at);
  return innermost.exec(stack)?.[1] === 'memif_plugin.so' && !of_request.test(stack);
}
