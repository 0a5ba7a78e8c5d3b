// How likely a reply's tokens were: on hover over the reply as it is shown, and
// as a text of tokens, each in the shade of its probability.
import { align } from "./align.js";
import { $, element, percent } from "./dom.js";

// chance says how likely; what is hardly so as well.
function chance(logprob) {
  const p = Math.exp(logprob);
  return p > 0 && p < 0.0005 ? "< 0.1 %" : percent(p);
}

// tip shows one token: how likely it was, and what else might have come.
function tip(token, at) {
  const [text, logprob, others] = token;
  const box = $("tip");
  const all = others.some(([o]) => o === text) ? others : [...others, [text, logprob]];
  box.replaceChildren(...all.map(([o, p]) => {
    const bar = element("i");
    bar.style.width = `${100 * Math.exp(p)}%`;
    const row = element("div", o === text ? "drawn" : "", element("code", "", visible(o)), element("span", "meter", bar), element("span", "", chance(p)));
    return row;
  }));
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
  box.style.top = `${at.bottom + height + 8 < innerHeight ? at.bottom + 4 : at.top - height - 4}px`;
}

export function hideTip() {
  $("tip").hidden = true;
  globalThis.CSS?.highlights?.delete("token");
}

// visible shows white space as signs.
const visible = (text) => text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "∅";

// tokensOf is a reply as its tokens, which the arrow keys go through.
export function tokensOf(turn) {
  const spans = turn.tokens.map(([text, logprob]) => {
    const s = element("span", `token p${shade(logprob)}`, text);
    s.tabIndex = -1;
    return s;
  });
  if (spans[0]) spans[0].tabIndex = 0;
  const box = element("div", "tokens", spans);
  box.role = "group";
  box.ariaLabel = "The reply's tokens; the arrow keys go through them";
  const showAt = (e) => {
    const i = spans.indexOf(e.target);
    if (i < 0) return;
    tip(turn.tokens[i], spans[i].getBoundingClientRect());
    spans[i].setAttribute("aria-describedby", "tip");
  };
  box.addEventListener("mouseover", showAt);
  box.addEventListener("focusin", showAt);
  box.addEventListener("mouseleave", hideTip);
  box.addEventListener("focusout", hideTip);
  box.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const next = spans[spans.indexOf(document.activeElement) + by];
    if (!by || !next) return;
    event.preventDefault();
    document.activeElement.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  return box;
}

// shade is from 0, certain, to 5, hardly expected.
function shade(logprob) {
  const p = Math.exp(logprob);
  return [0.9, 0.6, 0.3, 0.1, 0.02].filter((bound) => p < bound).length;
}

// hover shows the token under the pointer in a reply as it is shown. Where each
// stands is found when first asked.
export function hover(box, turn) {
  let known = null;
  box.addEventListener("mousemove", (event) => {
    if (!turn.tokens || turn.open || event.buttons) return hideTip();
    if (known?.first !== box.firstChild) known = { first: box.firstChild, ...where(box, turn.tokens) };
    const spot = under(event);
    const from = spot && known.starts.get(spot.node);
    const i = from === undefined ? -1 : known.owners[from + spot.offset] ?? -1;
    if (i < 0) return hideTip();
    showToken(known, spot.node, from, spot.offset, turn.tokens[i]);
  });
  box.addEventListener("mouseleave", hideTip);
}

// where says which token wrote each character of the texts in a box.
function where(box, tokens) {
  const starts = new Map();
  let shown = "";
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT, (n) =>
    (n.parentElement.closest(".bar, math") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT));
  while (walker.nextNode()) {
    starts.set(walker.currentNode, shown.length);
    shown += `${walker.currentNode.data}\n`; // blocks are apart
  }
  return { starts, owners: align(shown, tokens) };
}

// under is the character under the pointer: of a text, and where in it.
function under({ clientX: x, clientY: y }) {
  let node, offset;
  if (document.caretPositionFromPoint) ({ offsetNode: node, offset } = document.caretPositionFromPoint(x, y) ?? {});
  else ({ startContainer: node, startOffset: offset } = document.caretRangeFromPoint?.(x, y) ?? {});
  if (node?.nodeType !== Node.TEXT_NODE) return null;
  for (const at of [offset, offset - 1]) { // a caret stands between two
    if (at < 0 || at >= node.length) continue;
    const r = rect(node, at, at + 1);
    if (x >= r.left - 1 && x <= r.right + 1 && y >= r.top - 2 && y <= r.bottom + 2) return { node, offset: at };
  }
  return null;
}

function range(node, from, to) {
  const r = document.createRange();
  r.setStart(node, from);
  r.setEnd(node, to);
  return r;
}

const rect = (node, from, to) => range(node, from, to).getBoundingClientRect();

function showToken({ owners }, node, start, offset, token) {
  const owner = owners[start + offset];
  let [from, to] = [offset, offset + 1];
  while (from > 0 && owners[start + from - 1] === owner) from--;
  while (to < node.length && owners[start + to] === owner) to++;
  if (globalThis.CSS?.highlights) CSS.highlights.set("token", new Highlight(range(node, from, to)));
  tip(token, rect(node, from, to));
}

addEventListener("scroll", hideTip, { capture: true, passive: true });
