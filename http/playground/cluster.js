// The engines of a front, by the hosts they are on, and the open requests, each a dot that moves to the
// engine that has it: from the front at first, and to another one when its own is lost.
import { $, element, percent, plural, round, setText } from "./dom.js";

const dots = new Map(); // by the request's number
const pitch = 11; // px from a dot to the next

const states = { ready: "ready", mending: "mending or leaving", lost: "lost" };
const here = "this process";

// rows are the engines' elements, by their numbers; made anew when engines come and go.
let rows = new Map();
let drawn = "";

function arrange(engines) {
  const key = JSON.stringify(engines.map((e) => [e.number, e.name]));
  if (key === drawn) return;
  drawn = key;
  rows = new Map(engines.map((e) => [e.number, row()]));
  const hosts = Map.groupBy(engines, (e) => e.host ?? here);
  $("hosts").replaceChildren(...[...hosts].map(([host, its]) =>
    element("li", "host", element("h4", "", host), element("ul", "", its.map((e) => rows.get(e.number))))));
}

function row() {
  const bar = element("div", "bar", element("i", "a"), element("i", "b"));
  bar.ariaHidden = "true";
  return element("li", "engine", element("b"), element("span"), element("div", "seats"), bar, element("p", "note"));
}

function showEngine(e, was, dt) {
  const li = rows.get(e.number);
  const [name, figures, , bar, note] = li.children;
  li.dataset.state = e.state;
  setText(name, e.host ? e.name.slice(e.name.lastIndexOf(":")) : `engine ${e.number}`);
  const rate = was ? Math.max(0, e.generated - was.generated) / dt : 0;
  const lost = e.state === "lost";
  const does = [e.state !== "ready" && states[e.state], `${e.running} running`, e.waiting > 0 && `${e.waiting} waiting`, `${round(rate)} tokens/s`];
  setText(figures, lost ? states.lost : does.filter(Boolean).join(", "));
  const pages = Math.max(1, e.pages_used + e.pages_cached + e.pages_free);
  bar.hidden = lost;
  bar.children[0].style.width = `${(100 * e.pages_used) / pages}%`;
  bar.children[1].style.width = `${(100 * e.pages_cached) / pages}%`;
  setText(note, [e.model, !lost && `KV ${percent(e.pages_used / pages)} used, ${percent(e.pages_cached / pages)} cached`, e.hardware, e.version].filter(Boolean).join("; "));
}

// seat gives each request a place with the others that are where it is.
function seat(open) {
  const box = $("cluster").getBoundingClientRect();
  const at = (number) => rows.get(number)?.querySelector(".seats") ?? $("at-front");
  const start = $("at-front").getBoundingClientRect();
  const by = Map.groupBy(open, (r) => at(r.engine));
  const columns = (seats) => Math.max(1, Math.floor(seats.clientWidth / pitch));
  for (const seats of [$("at-front"), ...[...rows.values()].map((li) => li.children[2])]) {
    seats.style.height = `${pitch * Math.max(1, Math.ceil((by.get(seats)?.length ?? 0) / columns(seats)))}px`;
  }
  const seen = new Set();
  for (const [seats, all] of by) {
    const place = seats.getBoundingClientRect();
    const wide = columns(seats);
    all.forEach((r, i) => {
      seen.add(r.number);
      const dot = dots.get(r.number) ?? enter(r.number, start.left - box.left, start.top - box.top);
      dot.classList.toggle("moved", r.moves > 0);
      dot.style.transform = `translate(${place.left - box.left + pitch * (i % wide)}px, ${place.top - box.top + pitch * Math.floor(i / wide)}px)`;
    });
  }
  for (const [number, dot] of dots) {
    if (seen.has(number)) continue;
    dot.remove();
    dots.delete(number);
  }
}

// enter draws a request where it comes in, so that it is seen to move.
function enter(number, x, y) {
  const dot = element("i", "dot");
  dot.style.transform = `translate(${x}px, ${y}px)`;
  $("dots").append(dot);
  dots.set(number, dot);
  dot.getBoundingClientRect(); // it has been there
  return dot;
}

export function showCluster(now, then, dt) {
  const engines = now.engines ?? [];
  $("cluster").hidden = engines.length === 0;
  if (engines.length === 0) return;
  arrange(engines);
  for (const e of engines) showEngine(e, then.engines?.find((was) => was.name === e.name), dt);
  const open = now.open ?? [];
  setText($("front-figures"), `${plural(now.requests.open, "open request")} at this front`);
  seat(open);
  const hosts = new Set(engines.map((e) => e.host ?? here)).size;
  const ready = engines.filter((e) => e.ready).length;
  const said = [`${ready} of ${plural(engines.length, "engine")} ready, on ${plural(hosts, "host")}.`];
  for (const m of now.models ?? []) said.push(`${m.name}: ${plural(m.open, "open request")}${m.ready ? "" : ", no engine"}.`);
  if (now.resumed) said.push(`${plural(now.resumed, "request")} went on with another engine.`);
  if (now.requests.open > open.length && open.length > 0) said.push(`The first ${open.length} are drawn.`);
  setText($("cluster-note"), said.join(" "));
}
