// What models write: Markdown as elements, block by block.
import { append, button, copy, element } from "./dom.js";
import { highlight, languageOf } from "./highlight.js";
import { inline } from "./inline.js";
import { mathOf } from "./math.js";

const item = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)/;
const dashes = /^ *\|?(?: *:?-+:? *\|)+(?: *:?-+:? *)?$/; // under a table's head
const rule = /^ *([-*_])(?: *\1){2,} *$/;
const fence = /^(`{3,}|~{3,})\s*([^`]*)$/;
const mathBegins = /^ *(\$\$|\\\[)/;
const begins = /^(?:`{3}|~{3}|#{1,6} |>| *(?:[-*+]|1[.)]) | *\$\$| *\\\[)/; // a block that, as a rule does, ends a paragraph

// written turns a text into elements, while it is being written, too: what is
// no Markdown, or not yet, stays as it is.
export const written = (text) => blocks(text.split("\n")).map((b) => b.element);

// blocks turns lines into {element, from, fence?}: from is the line it begins
// at; fence says, of a code block, what would end it and what is in it. Quotes
// and lists stand in one another, but no deeper than people would write.
export function blocks(lines, depth = 0) {
  const out = [];
  for (let i = 0; i < lines.length;) {
    const first = lines[i], from = i;
    const take = (more) => { // the first line, and those after it while there are more
      do i++; while (i < lines.length && more(lines[i]));
      return lines.slice(from, i);
    };
    const put = (made) => out.push({ element: made, from });
    let m;
    if (!first.trim()) {
      i++;
    } else if ((m = first.match(fence))) {
      const end = new RegExp(`^${m[1]}${m[1][0]}*\\s*$`);
      const code = new Code(m[2].trim());
      code.add(take((l) => !end.test(l)).slice(1));
      out.push({ element: code.element, from, code, closed: i < lines.length, end });
      i++;
    } else if ((m = first.match(/^(#{1,6}) +(.*?)(?: +#+)?$/))) {
      put(element(`h${Math.min(6, m[1].length + 2)}`, "", inline(m[2])));
      i++;
    } else if (rule.test(first)) {
      put(element("hr"));
      i++;
    } else if (depth < 16 && first.startsWith(">")) {
      put(element("blockquote", "", elements(take((l) => l.startsWith(">")).map((l) => l.replace(/^> ?/, "")), depth + 1)));
    } else if (depth < 16 && (m = first.match(item))) {
      const [indent, ordered] = [m[1].length, m[2].length > 1];
      const inside = (l) => l.search(/\S/) > indent || (l.match(item)?.[2].length > 1) === ordered && item.test(l);
      put(list(take((l) => inside(l.trim() ? l : after(lines, i))), indent, m[2], depth));
    } else if (first.includes("|") && dashes.test(lines[i + 1] ?? "")) {
      put(table(take((l) => l.includes("|"))));
    } else if (mathBegins.test(first)) {
      put(displayed(take((l) => l.trim() && !closes(first, lines[i - 1], i - 1 === from))));
    } else {
      put(element("p", "", inline(take((l) => l.trim() && !begins.test(l) && !rule.test(l)).join("\n"))));
    }
  }
  return out;
}

const elements = (lines, depth) => blocks(lines, depth).map((b) => b.element);

// after is the first line from line i on that is not empty.
function after(lines, i) {
  while (i < lines.length && !lines[i].trim()) i++;
  return lines[i] ?? "";
}

// closes tells whether a line ends the formula that began in the first one.
function closes(first, line, isFirst) {
  const end = first.trim().startsWith("$$") ? "$$" : "\\]";
  return line.trim().endsWith(end) && (!isFirst || line.trim().length > 4);
}

// displayed is a formula of its own; the source when it is not understood, and a
// paragraph when something else is there.
function displayed(lines) {
  const text = lines.join("\n").trim();
  const m = text.match(/^\$\$([^$]+)\$\$$|^\\\[([^]+)\\\]$/);
  if (!m) return element("p", "", inline(text));
  const math = mathOf(m[1] ?? m[2], true);
  return math ? element("div", "formula", math) : element("pre", "tex", element("code", "", text));
}

// Code is a code block that can grow by lines.
export class Code {
  constructor(label) {
    this.language = languageOf(label.split(/[\s{:,]/)[0]);
    this.open = ""; // see highlight
    this.lines = 0;
    this.code = element("code");
    const pre = element("pre", "", this.code);
    pre.tabIndex = 0; // to be scrolled by keyboard
    const b = button("Copy", () => copy(b, this.code.textContent), "copy");
    b.ariaLabel = "Copy code";
    this.element = element("div", "code", element("div", "bar", element("span", "", label || "text"), b), pre);
    pre.ariaLabel = label ? `Code, ${label}` : "Code";
    pre.role = "group";
  }

  // add appends whole lines.
  add(lines) {
    const parts = [];
    for (const line of lines) {
      if (this.lines++ > 0) parts.push("\n");
      const { parts: tokens, open } = highlight(this.language, line, this.open);
      this.open = open;
      for (const [kind, text] of tokens) parts.push(kind ? element("span", `h-${kind}`, text) : text);
    }
    append(this.code, parts);
  }
}

// list turns the lines of a list into one. What is indented belongs to the item
// before it.
function list(lines, indent, marker, depth) {
  const items = [];
  let width = 0;
  for (const l of lines) {
    const m = l.match(item);
    if (m && m[1].length <= indent) {
      items.push([l.slice(m[0].length)]);
      width = m[0].length;
    } else {
      items.at(-1).push(l.slice(Math.min(width, Math.max(0, l.search(/\S/)))));
    }
  }
  const e = element(marker.length > 1 ? "ol" : "ul", "", items.map((x) => listItem(x, depth)));
  if (marker.length > 1) e.start = parseInt(marker);
  return e;
}

// listItem is one, or a task when it begins with a box.
function listItem(lines, depth) {
  const task = lines[0].match(/^\[([ xX])\] +/);
  if (!task) return element("li", "", elements(lines, depth + 1));
  const done = task[1] !== " ";
  const box = element("span", done ? "box done" : "box");
  box.role = "img";
  box.ariaLabel = done ? "Done:" : "To do:";
  return element("li", "task", box, elements([lines[0].slice(task[0].length), ...lines.slice(1)], depth + 1));
}

// table turns lines with bars, the second of which are dashes, into a table.
function table([head, marks, ...rows]) {
  const aligned = cells(marks).map((c) => (c.endsWith(":") ? (c.startsWith(":") ? "center" : "right") : ""));
  const row = (line, tag) => element("tr", "", cells(line).map((c, i) => element(tag, aligned[i], inline(c))));
  const box = element("div", "table", element("table", "", element("thead", "", row(head, "th")), element("tbody", "", rows.map((r) => row(r, "td")))));
  box.tabIndex = 0; // to be scrolled by keyboard
  box.role = "group";
  box.ariaLabel = "Table";
  return box;
}

// cells splits a line at its bars, but for those that are escaped or in code.
function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return (inner.match(/(?:\\\||`[^`]*`|[^|])+|(?<=\|)(?=\|)|^(?=\|)|(?<=\|)$/g) ?? [""]).map((c) => c.trim().replaceAll("\\|", "|"));
}
