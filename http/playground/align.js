// Which token stands where in a reply as it is shown. What is shown is what was
// written without its marks, so each character shown is the next of its kind
// that was written.

// align says, for each character shown, which token wrote it.
export function align(shown, tokens) {
  const owner = [];
  let written = "";
  for (const [i, [text]] of tokens.entries()) {
    written += text;
    while (owner.length < written.length) owner.push(i);
  }
  const out = new Array(shown.length).fill(-1);
  let at = 0; // in what was written
  // found looks for a piece not far ahead; what is farther was not written, but
  // is the page's.
  const found = (piece) => {
    const next = written.indexOf(piece, at);
    return next >= 0 && next - at < 2000 ? next : -1;
  };
  // begun looks for it where a word may begin.
  const begun = (piece) => {
    for (let next = found(piece); next >= 0 && next - at < 2000; next = written.indexOf(piece, next + 1)) {
      if (next === 0 || /[\s*_~`([|>#]/.test(written[next - 1])) return next;
    }
    return undefined;
  };
  for (const { index, 0: piece } of shown.matchAll(/\s|\S+/g)) {
    if (/\s/.test(piece)) {
      if (/\s/.test(written[at] ?? "")) out[index] = owner[at++];
      continue;
    }
    // A word as a whole when it was written as one, else by its characters.
    const whole = begun(piece) ?? found(piece);
    for (let i = 0; i < piece.length; i++) {
      const next = whole >= 0 ? whole + i : found(piece[i]);
      if (next < 0) continue;
      out[index + i] = owner[next];
      at = next + 1;
    }
  }
  return out;
}
