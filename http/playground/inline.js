// What stands within a line of Markdown. Text only ever becomes text nodes, and
// a link leads only where a person may be sent.
import { element } from "./dom.js";
import { mathOf } from "./math.js";

// Each kind of mark, in the order in which they are tried at a place: its name,
// what it looks like, how many groups that has. Whatever is none of them is
// text. All are bounded, so that a text full of beginnings takes no longer.
const marks = [
  ["code", String.raw`(?<!\x60)(\x60+)(?!\x60)((?:[^\x60]|(?!\2)\x60+(?!\x60)){1,4000}?)\2(?!\x60)`, 2],
  ["display", String.raw`\$\$([^$]{1,4000}?)\$\$|\\\[([^\n]{1,4000}?)\\\]`, 2],
  ["math", String.raw`\$(?!\s)([^$\n]{0,1000}?[^\s$\\])\$(?![\w$])|\\\(([^\n]{1,1000}?)\\\)`, 2],
  ["escaped", String.raw`\\([\\\x60*_{}\[\]()#+\-.!~|<>$])`, 1],
  ["link", String.raw`!?\[((?:[^\[\]\n]|\[[^\[\]\n]{0,200}\]){0,1000})\]\(<?((?:[^\s<>()]|\([^\s<>()]{0,200}\)){1,2000})>?(?: +"[^"\n]{0,300}")?\)`, 2],
  ["bare", String.raw`<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>|(?<![\w/])(https?:\/\/[^\s<>"'\x60*]{0,2000}[^\s<>"'\x60*.,;:!?)\]}|_])`, 2],
  ["both", String.raw`\*\*\*(?![\s*])([^*\n]{1,1000}?)(?<!\s)\*\*\*`, 1],
  ["strong", String.raw`\*\*(?!\s)((?:[^*\n]|\*(?!\*)[^*\n]{1,500}\*(?!\*)){1,1000}?)(?<!\s)\*\*|(?<!\w)__(?!\s)([^\n]{1,1000}?)(?<!\s)__(?!\w)`, 2],
  ["em", String.raw`\*(?![\s*])((?:[^*\n]|\*\*[^*\n]{1,500}\*\*){1,1000}?)(?<!\s)\*(?!\*)|(?<!\w)_(?![\s_])([^\n]{0,1000}?[^\s_])_(?!\w)`, 2],
  ["del", String.raw`~~(?!\s)([^\n]{1,1000}?)(?<!\s)~~`, 1],
  ["br", String.raw`<br ?\/?>`, 0],
];

// As one expression: each kind is a group, with its own groups after it. Only
// the first may refer to a group.
const any = new RegExp(marks.map(([, source]) => `(${source})`).join("|"), "g");

// inline turns a text into strings and elements.
export function inline(text, depth = 0) {
  const out = [];
  let from = 0;
  for (const found of text.matchAll(any)) {
    const made = depth < 8 ? mark(found, depth) : null;
    if (made === null) continue;
    if (found.index > from) out.push(text.slice(from, found.index));
    for (const part of [made].flat()) out.push(part);
    from = found.index + found[0].length;
  }
  if (from < text.length) out.push(text.slice(from));
  return out;
}

// mark makes what was found; null when it is text after all.
function mark(found, depth) {
  let group = 1;
  for (const [kind, , groups] of marks) {
    if (found[group] !== undefined) return makers[kind](depth, ...found.slice(group + 1, group + 1 + groups));
    group += 1 + groups;
  }
  return null;
}

const makers = {
  escaped: (_, c) => c,
  code: (_, fence, text) => element("code", "", /^ .*\S.* $/.test(text) ? text.slice(1, -1) : text),
  display: (_, a, b) => mathOf(a ?? b, true),
  math: (_, a, b) => mathOf(a ?? b),
  link: (depth, label, url) => link(url, inline(label || url, depth + 1)),
  bare: (_, a, b) => link(a ?? b, [(a ?? b).replace(/^mailto:/, "")]),
  both: (depth, a) => element("strong", "", element("em", "", inline(a, depth + 1))),
  strong: (depth, a, b) => element("strong", "", inline(a ?? b, depth + 1)),
  em: (depth, a, b) => element("em", "", inline(a ?? b, depth + 1)),
  del: (depth, a) => element("del", "", inline(a, depth + 1)),
  br: () => element("br"),
};

// link leads away, in a tab of its own that knows nothing of this one; null
// when it is not to the web or to a person. Pictures are links as well: nothing
// is loaded from elsewhere.
function link(url, children) {
  if (!/^(https?:\/\/[^\s/]|mailto:[^\s@]+@)/i.test(url)) return null;
  const a = element("a", "", children);
  for (const inner of a.querySelectorAll("a")) inner.replaceWith(...inner.childNodes); // links do not stand in links
  a.href = url;
  a.target = "_blank";
  a.rel = "noopener noreferrer";
  return a;
}
