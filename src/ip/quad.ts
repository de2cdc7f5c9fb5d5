const dot = 46;
const zero = 48;

/** The number of a dotted quad that begins at 0 and ends at `end`; -1 for any other text, leading zeros included. */
export function quad(text: string, end: number): number {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let at = 0; at < end; at += 1) {
    const code = text.charCodeAt(at);
    const digit = code - zero;
    if (code === dot && octet >= 0) {
      value = value * 256 + octet;
      octet = -1;
      dots += 1;
    } else if (digit >= 0 && digit <= 9 && octet !== 0) {
      octet = octet < 0 ? digit : octet * 10 + digit;
      if (octet > 255) return -1;
    } else return -1;
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : -1;
}
