// What models write: Markdown as elements. Text only ever becomes text nodes.

// element makes an element with children, which are elements or strings.
function element(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  e.append(...children);
  return e;
}

// written turns a text into elements, while it is being written, too: what is
// no Markdown, or not yet, stays as it is.
function written(text) {
  return blocks(text.split("\n"));
}

const item = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)/;
const dashes = /^ *\|?(?: *:?-+:? *\|)+(?: *:?-+:? *)?$/; // under a table's head
const rule = /^ *([-*_])(?: *\1){2,} *$/;
const begins = /^(?:`{3}|~{3}|#{1,6} |>| *(?:[-*+]|1[.)]) )/; // a block that, as a rule does, ends a paragraph

// blocks turns lines into elements. Quotes and lists stand in one another, but
// no deeper than people would write.
function blocks(lines, depth = 0) {
  const out = [];
  for (let i = 0; i < lines.length;) {
    const first = lines[i], from = i;
    const take = (more) => { // the first line, and those after it while there are more
      do i++; while (i < lines.length && more(lines[i]));
      return lines.slice(from, i);
    };
    let m;
    if (!first.trim()) {
      i++;
    } else if ((m = first.match(/^(`{3,}|~{3,})/))) {
      out.push(element("pre", "", element("code", "", take((l) => l.trimEnd() !== m[1]).slice(1).join("\n"))));
      i++;
    } else if ((m = first.match(/^(#{1,6}) +(.*?)(?: +#+)?$/))) {
      out.push(element(`h${Math.min(6, m[1].length + 2)}`, "", ...inline(m[2])));
      i++;
    } else if (rule.test(first)) {
      out.push(element("hr"));
      i++;
    } else if (depth < 16 && first.startsWith(">")) {
      out.push(element("blockquote", "", ...blocks(take((l) => l.startsWith(">")).map((l) => l.replace(/^> ?/, "")), depth + 1)));
    } else if (depth < 16 && (m = first.match(item))) {
      const [indent, ordered] = [m[1].length, m[2].length > 1];
      const inside = (l) => l.search(/\S/) > indent || (l.match(item)?.[2].length > 1) === ordered && item.test(l);
      out.push(list(take((l) => inside(l.trim() ? l : lines.slice(i).find((x) => x.trim()) ?? "")), indent, m[2], depth));
    } else if (first.includes("|") && dashes.test(lines[i + 1] ?? "")) {
      out.push(table(take((l) => l.includes("|"))));
    } else {
      out.push(element("p", "", ...inline(take((l) => l.trim() && !begins.test(l) && !rule.test(l)).join("\n"))));
    }
  }
  return out;
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
  const e = element(marker.length > 1 ? "ol" : "ul", "", ...items.map((x) => element("li", "", ...blocks(x, depth + 1))));
  if (marker.length > 1) e.start = parseInt(marker);
  return e;
}

// table turns lines with bars, the second of which are dashes, into a table.
function table([head, , ...rows]) {
  const row = (line, tag) => element("tr", "", ...line.trim().replace(/^\||\|$/g, "").split("|").map((c) => element(tag, "", ...inline(c.trim()))));
  return element("div", "table", element("table", "", element("thead", "", row(head, "th")), element("tbody", "", ...rows.map((r) => row(r, "td")))));
}

// inline turns a text into strings, code, bold and italics.
function inline(text) {
  return text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*|\*[^*\s](?:[^*\n]*[^*\s])?\*)/).map((part, i) => {
    if (i % 2 === 0) return part;
    if (part[0] === "`") return element("code", "", part.slice(1, -1));
    return part[1] === "*" ? element("strong", "", part.slice(2, -2)) : element("em", "", part.slice(1, -1));
  });
}

Object.assign(window, { element, written }); // for the modules after this one
