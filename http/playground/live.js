// Backstage: /stats, once a second while it can be seen. Counters become rates
// by their difference to an earlier time: the last for the curve, one of some
// seconds ago for figures that are to be read. Where /stats is not to be had, as
// when it is served to who runs the server alone, there is no Backstage.

import { $, duration, element, percent, setText } from "./dom.js";
import { load, save } from "./store.js";
import { showCluster } from "./cluster.js";

const period = 1000; // ms
const history = []; // tokens generated a second, the latest last
const historyLength = 60;

const round = (x) => x.toLocaleString("en", { maximumFractionDigits: x < 10 ? 1 : 0 });

let looks = []; // the latest answers and when they came, the oldest first
const looksKept = 4;
let timer = 0;
let known = false; // whether /stats is to be had

// fill sizes the parts of a bar, given their shares.
function fill(bar, ...shares) {
  shares.forEach((share, i) => {
    bar.children[i].style.width = `${100 * Math.min(1, share)}%`;
  });
}

// define shows a list of [name, value, colour of its part in the bar].
function define(list, rows) {
  while (list.children.length < rows.length) {
    list.append(element("div", "", element("dt", "", element("i"), element("span")), element("dd")));
  }
  rows.forEach(([name, value, colour], i) => {
    const [dt, dd] = list.children[i].children;
    const [swatch, word] = dt.children;
    swatch.hidden = colour === undefined;
    swatch.className = colour ?? "";
    setText(word, name);
    setText(dd, value);
  });
}

// The parts of the view. now and then are answers, dt the seconds between.

function showRate(now, then, dt) {
  history.push((now.tokens.generated - then.tokens.generated) / dt);
  if (history.length > historyLength) history.shift();
  setText($("rate"), round(history.at(-1)));
  const top = Math.max(...history, 1);
  const step = 120 / (historyLength - 1);
  const left = 120 - (history.length - 1) * step;
  const points = history.map((v, i) => `${(left + i * step).toFixed(1)},${(31 - (29 * v) / top).toFixed(1)}`);
  $("spark").querySelector(".line").setAttribute("d", `M${points.join("L")}`);
  $("spark").querySelector(".area").setAttribute("d", `M${left.toFixed(1)},32L${points.join("L")}L120,32Z`);
}

// showActors lists them in the order of a request, which is the order in which
// they were not spawned.
const order = ["tokenizer", "grammars", "compiler", "scheduler", "executor", "detokenizer"];
const place = (a) => order.indexOf(a.name.replace(/(-\d+)?(@.*)?$/, "")); // of one elsewhere: name@host

function showActors(now, then, dt) {
  const body = $("actors");
  const actors = now.actors.toSorted((a, b) => place(a) - place(b));
  while (body.children.length < actors.length) body.append(actorRow());
  while (body.children.length > actors.length) body.lastChild.remove();
  actors.forEach((a, i) => {
    const was = then.actors.find((b) => b.name === a.name) ?? a;
    const messages = a.messages - was.messages;
    const busy = (a.busy_seconds - was.busy_seconds) / dt;
    const [name, mail, delay, rate, share] = body.children[i].children;
    setText(name.lastChild, a.name.replace("-", " "));
    name.title = a.name; // which may be cut off
    // From a message a second to thousands: the more, the brighter.
    name.querySelector(".bead i").style.opacity = messages === 0 ? 0 : Math.min(1, 0.4 + 0.2 * Math.log10(1 + messages / dt));
    setText(mail.firstChild, String(a.depth));
    mail.firstChild.style.fontWeight = a.depth > 0 ? 600 : 400;
    setText(delay, messages === 0 ? "–" : duration((a.delay_seconds - was.delay_seconds) / messages));
    setText(rate, round(messages / dt));
    setText(share, percent(Math.min(1, busy)));
  });
}

function actorRow() {
  const name = element("th", "", element("span", "bead", element("i")), element("span"));
  name.scope = "row";
  return element("tr", "", name, element("td", "", element("span")), element("td"), element("td"), element("td"));
}

function showRequests(now) {
  const r = now.requests;
  fill($("requests-bar"), r.running / Math.max(r.slots, 1));
  define($("requests"), [
    ["running", `${round(r.running)} of ${round(r.slots)}`, "a"],
    ["waiting", round(r.waiting)],
    ["preempted", round(r.preempted)],
  ]);
}

function showSteps(now, then, dt) {
  const of = (kind) => now.steps[kind] - then.steps[kind];
  const [decode, mixed, prefill] = [of("decode"), of("mixed"), of("prefill")];
  const all = decode + mixed + prefill;
  const some = Math.max(all, 1);
  fill($("steps-bar"), decode / some, mixed / some, prefill / some);
  define($("steps"), [
    ["decode", `${round(decode / dt)}/s`, "a"],
    ["mixed", `${round(mixed / dt)}/s`, "b"],
    ["prefill", `${round(prefill / dt)}/s`, "c"],
  ]);
  const tokens = (now.tokens.computed - then.tokens.computed) / some;
  const spent = (kind) => percent(Math.min(1, (now.device[kind] - then.device[kind]) / dt));
  setText($("steps-note"), all === 0 ? "Nothing to compute." : `${round(tokens)} tokens a step. ` +
    `The device computes ${spent("busy_seconds")} of the time and waits ${spent("idle_seconds")} for a step though there is work.`);
}

function showPages(now) {
  const p = now.pages;
  const all = Math.max(p.used + p.cached + p.free, 1);
  fill($("pages-bar"), p.used / all, p.cached / all);
  define($("pages"), [
    ["used", round(p.used), "a"],
    ["cached", round(p.cached), "b"],
    ["free", round(p.free), ""],
    ["evicted", round(p.evicted)],
  ]);
  const t = now.tokens;
  const hits = t.prompt === 0 ? "" : ` ${percent(t.cached / t.prompt)} of all prompt tokens were found in the cache.`;
  setText($("pages-note"), `${p.size} tokens a page.${hits}`);
}

function showHealth(state, text) {
  $("health").className = state;
  setText($("health"), text);
}

// visible: nobody is asked for what nobody sees.
const visible = () => !document.hidden && $("live").offsetParent !== null;

async function look() {
  clearTimeout(timer);
  if (absent() || known && !visible()) {
    looks = [];
    return;
  }
  timer = setTimeout(look, period);
  let now;
  try {
    const response = await fetch("stats", { signal: AbortSignal.timeout(5 * period) });
    if (response.status === 404) return leave();
    known = true;
    if (!response.ok) throw new Error(`status ${response.status}`);
    now = { at: performance.now(), stats: await response.json() };
  } catch {
    looks = [];
    showHealth("bad", "no answer");
    return;
  }
  const { stats } = now;
  showHealth(stats.ready ? "good" : "bad", stats.ready ? "ready" : "not ready");
  const last = looks.at(-1);
  if (last) showRate(stats, last.stats, seconds(last, now));
  const then = looks[0] ?? now;
  showCluster(stats, then.stats, seconds(then, now));
  showActors(stats, then.stats, seconds(then, now));
  showRequests(stats);
  showSteps(stats, then.stats, seconds(then, now));
  showPages(stats);
  looks = [...looks, now].slice(-looksKept);
}

const absent = () => document.body.classList.contains("no-live");

function leave() {
  clearTimeout(timer);
  document.body.classList.add("no-live");
  setOpen(false);
}

const seconds = (then, now) => Math.max((now.at - then.at) / 1000, 1e-3);

// Backstage stands beside the conversation where there is room, else in its
// place.
const wide = matchMedia("(min-width: 64rem)");

function setOpen(open) {
  document.body.classList.toggle("live-open", open);
  $("toggle-live").ariaPressed = String(open);
  look();
}

export function toggleLive() {
  if (absent()) return;
  const open = !document.body.classList.contains("live-open");
  setOpen(open);
  if (wide.matches) save("troupe.live", open);
}

const arrange = () => setOpen(!absent() && wide.matches && load("troupe.live", true));
$("toggle-live").addEventListener("click", toggleLive);
document.addEventListener("visibilitychange", look);
document.addEventListener("replied", look); // what a short reply did is seen at once
wide.addEventListener("change", arrange);
arrange();
