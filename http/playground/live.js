// Backstage: /stats, once a second while it can be seen. Counters become rates
// by their difference to an earlier time: the last for the curve, one of some
// seconds ago for figures that are to be read.

const $ = (id) => document.getElementById(id);
const period = 1000; // ms
const history = []; // tokens generated a second, the latest last
const historyLength = 60;

let looks = []; // the latest answers and when they came, the oldest first
const looksKept = 4;
let timer = 0;

function span(className, text) {
  const e = document.createElement("span");
  e.className = className;
  e.textContent = text;
  return e;
}

const round = (x) => x.toLocaleString("en", { maximumFractionDigits: x < 10 ? 1 : 0 });
const percent = (x) => `${round(100 * x)} %`;

function duration(seconds) {
  for (const [unit, size] of [["s", 1], ["ms", 1e-3]]) {
    if (seconds >= size) return `${(seconds / size).toPrecision(seconds < 10 * size ? 2 : 3)} ${unit}`;
  }
  return `${Math.round(seconds * 1e6)} µs`;
}

// setText touches the page only when something changed.
function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

// fill sizes the parts of a bar, given their shares.
function fill(bar, ...shares) {
  shares.forEach((share, i) => {
    bar.children[i].style.width = `${100 * Math.min(1, share)}%`;
  });
}

// define shows a list of [name, value, colour of its part in the bar].
function define(list, rows) {
  while (list.children.length < rows.length) {
    const row = document.createElement("div");
    row.append(document.createElement("i"), document.createElement("dt"), document.createElement("dd"));
    list.append(row);
  }
  rows.forEach(([name, value, colour], i) => {
    const [swatch, dt, dd] = list.children[i].children;
    swatch.hidden = colour === undefined;
    swatch.className = colour ?? "";
    setText(dt, name);
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
const place = (a) => order.indexOf(a.name.replace(/-\d+$/, ""));

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
  const row = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  const bead = span("bead", "");
  bead.append(document.createElement("i"));
  name.append(bead, span("", ""));
  row.append(name);
  for (let i = 0; i < 4; i++) row.append(document.createElement("td"));
  row.children[1].append(span("", ""));
  return row;
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
  if (!visible()) {
    looks = [];
    return;
  }
  timer = setTimeout(look, period);
  let now;
  try {
    const response = await fetch("stats", { signal: AbortSignal.timeout(5 * period) });
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
  showActors(stats, then.stats, seconds(then, now));
  showRequests(stats);
  showSteps(stats, then.stats, seconds(then, now));
  showPages(stats);
  looks = [...looks, now].slice(-looksKept);
}

const seconds = (then, now) => Math.max((now.at - then.at) / 1000, 1e-3);

$("toggle-live").addEventListener("click", () => {
  const open = document.body.classList.toggle("live");
  $("toggle-live").textContent = open ? "Chat" : "Backstage";
  look();
});
document.addEventListener("visibilitychange", look);
matchMedia("(min-width: 64rem)").addEventListener("change", look);
look();
