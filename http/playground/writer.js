// A reply while it is written. What is new can change only the last block and,
// as its line is not yet whole, the one before it; so only those are made anew,
// and a code block only grows. A long reply costs no more than a short one, a
// token.
import { append } from "./dom.js";
import { blocks } from "./markdown.js";

export class Writer {
  constructor(box) {
    this.box = box;
    this.reset();
  }

  reset() {
    this.text = "";
    this.from = 0; // where in the text the blocks begin that may still change
    this.fixed = 0; // elements that will not
    this.code = null; // the code block being written, and how much of it is there
    this.box.replaceChildren();
  }

  // write shows a text, which as a rule begins with the one before.
  write(text) {
    if (text === this.text) return;
    if (!text.startsWith(this.text)) this.reset();
    this.text = text;
    if (!this.code || !this.grow()) this.parse();
  }

  parse() {
    this.code = null;
    const rest = this.text.slice(this.from);
    const lines = rest.split("\n");
    const all = blocks(lines);
    while (this.box.childNodes.length > this.fixed) this.box.lastChild.remove();
    append(this.box, all.map((b) => b.element));
    const last = all.at(-1);
    if (last?.code && !last.closed) this.begin(last, lines);
    const open = all.at(-2)?.closed ? 1 : 2; // code that was closed does not change
    if (all.length > open) {
      const line = all.at(-open).from;
      this.from += lines.slice(0, line).reduce((n, l) => n + l.length + 1, 0);
      this.fixed += all.length - open;
    }
  }

  // end shows what does not grow any more: a last line of code is whole now.
  end() {
    if (!this.code) return;
    const { code, at, tail } = this.code;
    tail.remove();
    code.add([this.text.slice(at)]);
    this.code = null;
  }

  // begin notes a code block that is open: its last line stands apart, as it is
  // not whole yet.
  begin(block, lines) {
    if (lines.length - 1 === block.from) return; // not even its first line is whole
    const { code } = block;
    const tail = document.createTextNode("");
    const whole = lines.slice(block.from + 1, -1);
    code.code.replaceChildren();
    [code.open, code.lines] = ["", 0];
    code.add(whole);
    code.code.append(tail);
    this.code = { code, end: block.end, tail, at: this.text.length - lines.at(-1).length };
    this.tail(lines.at(-1));
  }

  // grow appends to the open code block; false when it ended.
  grow() {
    const { code, end, tail } = this.code;
    const lines = this.text.slice(this.code.at).split("\n");
    if (lines.some((l) => end.test(l))) return false;
    tail.remove();
    code.add(lines.slice(0, -1));
    code.code.append(tail);
    this.code.at = this.text.length - lines.at(-1).length;
    this.tail(lines.at(-1));
    return true;
  }

  tail(line) {
    this.code.tail.data = this.code.code.lines > 0 ? `\n${line}` : line;
  }
}
