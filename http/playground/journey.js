// The last reply's way through the actors, drawn to the scale of its time.
import { call } from "./api.js";
import { $, duration, element, plural, setText } from "./dom.js";

const lanes = ["http", "tokenizer", "scheduler", "executor", "detokenizer"];
let journey = null; // as /stats says it
let early = false; // only what came before the first token is on view

// fetchJourney asks how a request went. It may be told a moment before the
// server has noted it.
async function fetchJourney(id) {
  for (let tries = 0; tries < 10; tries++) {
    const { request } = await (await call(`stats?request=${encodeURIComponent(id)}`)).json();
    if (request) return request;
    await new Promise((after) => setTimeout(after, 20 << tries));
  }
  return null;
}

document.addEventListener("replied", async ({ detail: id }) => {
  const found = id && !document.body.classList.contains("no-live") ? await fetchJourney(id).catch(() => null) : null;
  if (!found) return; // stopped, or not to be had: the last one stays
  journey = found;
  draw();
});

// whole is what is on view: from 0 to so many seconds.
function whole() {
  if (!early) return journey.took_seconds;
  const first = journey.tokens[0]?.taken_seconds ?? journey.took_seconds;
  return Math.min(journey.took_seconds, first * 1.15);
}

function draw() {
  $("journey").hidden = false;
  $("segments").hidden = false;
  $("no-journey").hidden = true;
  const seconds = whole();
  $("lanes").replaceChildren(axis(seconds), ...lanes.flatMap((name) => [lane(name, seconds), ...(name === "scheduler" ? (journey.engines ?? []).map((e) => engine(e, seconds)) : [])]));
  $("scale-all").ariaPressed = String(!early);
  $("scale-first").ariaPressed = String(early);
  $("stages").replaceChildren(...journey.stages.map(stage));
  const { prompt_tokens: prompt, cached_tokens: cached, completion_tokens: tokens, took_seconds: took } = journey;
  const by = (journey.engines ?? []).map((e) => `${plural(e.tokens, "token")} by ${e.name}${e.lost ? ", which was lost" : ""}`);
  setText($("journey-note"), `${plural(prompt, "prompt token")}${cached ? `, ${cached} of them cached` : ""}; ${plural(tokens, "token")} in ${duration(took)}${by.length ? `: ${by.join("; then ")}` : ""}.`);
}

const share = (x, seconds) => `${(100 * x) / seconds}%`;

// axis marks round times.
function axis(seconds) {
  const raw = seconds / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw);
  const marks = [];
  for (let t = 0; t < seconds * 0.85; t += step) {
    const mark = element("span", "", t === 0 ? "0" : duration(t));
    mark.style.left = share(t, seconds);
    marks.push(mark);
  }
  return element("div", "axis", element("b"), element("div", "track", ...marks));
}

// lane is an actor's part: bars for its stages, a tick for each token it sent
// on.
function lane(name, seconds) {
  const track = element("div", "track");
  for (const s of journey.stages) {
    if (s.actor !== name || s.began_seconds > seconds) continue;
    const bar = element("i", `stage ${s.name}`);
    bar.style.left = share(s.began_seconds, seconds);
    bar.style.width = share(Math.min(s.ended_seconds, seconds) - s.began_seconds, seconds);
    bar.title = `${s.name}: ${duration(s.ended_seconds - s.began_seconds)}`;
    track.append(bar);
  }
  const at = { executor: "computed_seconds", detokenizer: "taken_seconds" }[name];
  for (const token of at ? journey.tokens : []) {
    if (token[at] > seconds) continue;
    const tick = element("i", "tick");
    tick.style.left = share(token[at], seconds);
    tick.title = `token ${token.number} after ${duration(token[at])}`;
    track.append(tick);
  }
  return element("div", "lane", element("b", "", name), track);
}

// engine is when an engine elsewhere had the request.
function engine({ name, began_seconds: began, ended_seconds: ended, lost, clock_error_seconds: error }, seconds) {
  const bar = element("i", lost ? "stage away lost" : "stage away");
  bar.style.left = share(Math.min(began, seconds), seconds);
  bar.style.width = share(Math.max(0, Math.min(ended, seconds) - began), seconds);
  bar.title = `${name}: ${duration(Math.max(0, ended - began))}${lost ? ", then it was lost" : ""}; its clock is known to ${duration(error)}`;
  const label = element("b", "", name);
  label.title = name;
  return element("div", "lane", label, element("div", "track", bar));
}

const said = {
  read: "read the request", tokenize: "rendered and tokenized the prompt", forward: "forwarded it to an engine", queue: "waited for a place in a step",
  prefill: "computed the prompt, to the first token", decode: "computed the other tokens", write: "wrote the last of it",
};

function stage({ actor, name, began_seconds: began, ended_seconds: ended }) {
  return element("li", name, element("i"), element("span", "", `${actor} ${said[name] ?? name}`), element("b", "", duration(Math.max(0, ended - began))));
}

for (const [id, value] of [["scale-all", false], ["scale-first", true]]) {
  $(id).addEventListener("click", () => {
    early = value;
    draw();
  });
}
