// The conversation: kept in the browser, sent whole with each message, its
// reply read as it is written.

const ui = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
const numbers = ["temperature", "top_p", "max_tokens", "seed"];

// What is kept. A turn is {role, text, thought?, calls?, note, open}; note says
// how it went, and open that it is still being written. A call is {id, name,
// arguments}; a turn of the role "tool" is its result, with the call's id and
// name.
const turns = load(localStorage, "troupe.turns", []);
const settings = load(localStorage, "troupe.settings", {});
let key = load(sessionStorage, "troupe.key", "");

let running = null; // the AbortController of the reply being written

function load(store, name, otherwise) {
  try {
    return JSON.parse(store.getItem(name)) ?? otherwise;
  } catch {
    return otherwise; // storage that is forbidden, or holds something else
  }
}

function save(store, name, value) {
  try {
    store.setItem(name, JSON.stringify(value));
  } catch {
    // Full or forbidden: the conversation lives on in the page.
  }
}

const saveTurns = () => save(localStorage, "troupe.turns", turns);

function button(label, act) {
  const b = element("button", "", label);
  b.type = "button";
  b.addEventListener("click", act);
  return b;
}

// Turns.

// show makes or updates the element of turn i.
function show(i) {
  const turn = turns[i];
  let e = ui.log.children[i];
  if (!e) {
    e = element("article", `turn ${turn.role}`, element("div", "text"), element("div", "foot"));
    e.setAttribute("aria-label", { user: "You", tool: `Result of ${turn.name}` }[turn.role] ?? "Reply");
    ui.log.append(e);
  }
  e.classList.toggle("running", turn.open === true);
  const text = e.querySelector(".text");
  if (turn.role === "assistant") text.replaceChildren(...written(turn.text));
  else if (turn.role === "tool") text.replaceChildren(element("code", "name", turn.name), element("pre", "", element("code", "", pretty(turn.text))));
  else text.replaceChildren(element("p", "", turn.text));
  if (turn.thought) showThought(e, turn);
  if (turn.calls) showCalls(e, turn, i);
  const foot = e.querySelector(".foot");
  foot.hidden = turn.role !== "assistant";
  if (!foot.hidden) foot.replaceChildren(element("span", "", turn.note), ...(turn.open ? [] : actions(i)));
}

// showThought shows reasoning: open while there is nothing else yet, then closed,
// unless the reader has chosen.
function showThought(e, turn) {
  let details = e.querySelector(".thought");
  if (!details) {
    details = element("details", "thought", element("summary"), element("div"));
    details.firstChild.addEventListener("click", () => (details.dataset.chosen = "yes"));
    e.prepend(details);
  }
  const alone = turn.open === true && !turn.text && !turn.calls;
  if (!details.dataset.chosen) details.open = alone;
  details.firstChild.textContent = alone ? "Thinking …" : "Thoughts";
  details.lastChild.textContent = turn.thought;
}

// pretty indents what is JSON, and leaves what is not yet.
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// showCalls shows the tools a reply calls, and asks for their results when it
// is the last.
function showCalls(e, turn, i) {
  let box = e.querySelector(".calls");
  if (!box) {
    box = element("div", "calls");
    e.querySelector(".text").after(box);
  }
  const asked = box.querySelector("form");
  const asks = !turn.open && i === turns.length - 1;
  if (asked && asks) return; // the reader is writing there
  const calls = turn.calls.filter(Boolean);
  box.replaceChildren(...calls.map((c) => element("div", "call", element("span", "", "calls "), element("code", "name", c.name), element("pre", "", element("code", "", pretty(c.arguments))))));
  if (asks) box.append(resultForm(calls));
}

function resultForm(calls) {
  const fields = calls.map((c, n) => {
    const field = element("textarea");
    field.rows = 1;
    field.required = true;
    field.id = `result-${n}`;
    const label = element("label", "", `Result of ${c.name}`);
    label.htmlFor = field.id;
    return [label, field];
  });
  const submit = element("button", "primary", fields.length > 1 ? "Send results" : "Send result");
  const form = element("form", "results", ...fields.flat(), submit);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (running) return;
    calls.forEach((c, n) => turns.push({ role: "tool", id: c.id, name: c.name, text: fields[n][1].value }));
    saveTurns();
    showAll();
    ui.prompt.focus();
    reply();
  });
  return form;
}

// actions are what can be done with reply i.
function actions(i) {
  const all = [];
  if (navigator.clipboard) {
    all.push(button("Copy", async (event) => {
      await navigator.clipboard.writeText(turns[i].text);
      event.target.textContent = "Copied";
    }));
  }
  if (i === turns.length - 1) all.push(button("Again", again));
  return all;
}

// showAll draws everything anew.
function showAll() {
  ui.log.replaceChildren();
  turns.forEach((_, i) => show(i));
  settle();
}

// settle shows what fits the state.
function settle() {
  ui.empty.hidden = turns.length > 0 || !ui.error.hidden || !ui["key-form"].hidden;
  ui.clear.disabled = turns.length === 0;
  ui.send.hidden = running !== null;
  ui.stop.hidden = running === null;
  ui.log.setAttribute("aria-busy", running !== null);
}

// The end stays in view, unless the reader has scrolled away from it.
let following = true;
ui.scroll.addEventListener("scroll", () => {
  following = ui.scroll.scrollHeight - ui.scroll.scrollTop - ui.scroll.clientHeight < 48;
});
const follow = () => following && ui.scroll.scrollTo(0, ui.scroll.scrollHeight);

// Errors.

function fail(message, ...buttons) {
  ui.error.replaceChildren(element("span", "", message), ...buttons);
  ui.error.hidden = false;
  ui.status.textContent = "";
  settle();
  following = true;
  follow();
}

function unfail() {
  ui.error.hidden = ui["key-form"].hidden = true;
}

function askKey() {
  ui["key-form"].hidden = false;
  settle();
  ui.key.focus();
}

// Failure is an answer other than the one asked for.
class Failure extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

// call sends a request with the key and returns the response if it is good.
async function call(path, init = {}) {
  const headers = { ...init.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Failure("The server cannot be reached.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const message = body?.error?.message ?? `The server answered with status ${response.status}.`;
  throw new Failure(message, response.status, response.headers.get("Retry-After"));
}

// Replies.

// events yields the data of a response's server-sent events.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let rest = ""; ;) {
      const part = await reader.read();
      if (part.done) throw new Failure("The reply broke off.");
      const lines = (rest + part.value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line === "data: [DONE]") return;
        if (line.startsWith("data: ")) yield parsed(line.slice(6));
      }
    }
  } catch (e) {
    if (e instanceof Failure || e.name === "AbortError") throw e;
    throw new Failure("The connection was lost before the reply ended.");
  } finally {
    reader.cancel().catch(() => {}); // of what is broken, nothing more is wanted
  }
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new Failure("The server sent something that is not a part of a reply.");
  }
}

// question is the request for the next turn.
function question() {
  const messages = turns.map(message);
  if (settings.system) messages.unshift({ role: "system", content: settings.system });
  const body = { messages, stream: true, stream_options: { include_usage: true } };
  for (const name of numbers) {
    if (settings[name] !== undefined) body[name] = settings[name];
  }
  if (settings.tools) body.tools = JSON.parse(settings.tools);
  return JSON.stringify(body);
}

// message is what the server is told of a turn.
function message({ role, text, calls, id, name }) {
  const m = { role, content: text };
  if (calls) {
    m.tool_calls = calls.filter(Boolean).map((c) => ({ id: c.id, type: "function", function: { name: c.name, arguments: c.arguments } }));
  }
  return role === "tool" ? { ...m, tool_call_id: id, name } : m;
}

// reply asks for an answer to the conversation and shows it as it comes.
async function reply() {
  unfail();
  const body = question();
  running = new AbortController();
  const turn = { role: "assistant", text: "", note: "", open: true };
  const clock = new Clock();
  turns.push(turn);
  following = true;
  paint(turn, clock);
  settle();
  const painter = setInterval(() => paint(turn, clock), 50);
  let error = null;
  let finish = "";
  try {
    const response = await call("v1/chat/completions", {
      method: "POST", body, signal: running.signal, headers: { "Content-Type": "application/json" },
    });
    for await (const event of events(response)) {
      if (event.error) throw new Failure(event.error.message);
      finish = read(event, turn, clock) ?? finish;
    }
  } catch (e) {
    if (e.name === "AbortError") finish = "stopped";
    else error = e;
  }
  clearInterval(painter);
  running = null;
  if (leaving) return; // it is to be found as it was
  turn.open = false;
  turn.note = clock.note(finish);
  ui.status.textContent = finish === "stopped" ? "Stopped" : "";
  if (turns.at(-1) === turn) { // else the conversation was cleared
    if (error && !clock.first) {
      turns.pop();
      ui.log.lastChild.remove();
    } else {
      show(turns.length - 1);
    }
    if (error) failed(error);
  }
  saveTurns();
  settle();
  follow();
}

function failed(e) {
  if (e.status === 401) {
    fail(e.message);
    askKey();
    return;
  }
  const when = e.retryAfter ? ` Try again in ${e.retryAfter} s.` : "";
  fail(e.message + when, button("Try again", again), ...(turns.at(-1)?.role === "user" ? [button("Edit", edit)] : []));
}

// read takes one event into the turn and returns why it finished, if it has.
function read(event, turn, clock) {
  if (event.usage) clock.tokens = event.usage.completion_tokens;
  const choice = event.choices?.[0];
  if (!choice) return null;
  const { content, reasoning_content: thought, tool_calls: calls } = choice.delta;
  if (content || thought || calls) {
    clock.heard();
    turn.text += content ?? "";
    if (thought) turn.thought = (turn.thought ?? "") + thought;
  }
  for (const { index, id, function: f } of calls ?? []) {
    turn.calls ??= [];
    const c = (turn.calls[index] ??= { id, name: "", arguments: "" });
    c.name += f.name ?? "";
    c.arguments += f.arguments ?? "";
  }
  return choice.finish_reason;
}

// paint shows a reply under way, as often as an eye can follow.
let saved = 0;
function paint(turn, clock) {
  if (turns.at(-1) !== turn) return;
  turn.note = clock.note();
  show(turns.length - 1);
  ui.status.textContent = clock.first ? "Writing …" : "Waiting for the first token …";
  follow();
  if (performance.now() - saved > 1000) { // for a reload without warning
    saved = performance.now();
    saveTurns();
  }
}

// Clock measures one reply as its reader sees it.
class Clock {
  begun = performance.now();
  first = 0; // when the first token came; 0: not yet
  last = 0;
  pieces = 0; // of text; one may be several tokens
  tokens = 0; // as the server counts them, at the end

  heard() {
    this.last = performance.now();
    this.first ||= this.last;
    this.pieces++;
  }

  // rate is that of n tokens a second after the first; over all of a reply
  // that came at once.
  rate(n) {
    const writing = this.last - this.first;
    return n > 1 && writing > 20 ? (1000 * (n - 1)) / writing : (1000 * n) / (this.last - this.begun);
  }

  // note is what is said under the reply.
  note(finish) {
    const parts = [];
    if (finish === "stopped") parts.push(finish);
    if (finish === "length") parts.push("cut at the token limit");
    if (this.first) {
      const n = this.tokens || this.pieces;
      parts.push(`${this.tokens ? "" : "about "}${n} token${n === 1 ? "" : "s"}`);
      parts.push(`${round(this.rate(n))} tokens/s`);
      parts.push(`first token after ${duration(this.first - this.begun)}`);
    }
    return parts.join(" · ");
  }
}

const round = (x) => x.toLocaleString("en", { maximumSignificantDigits: 3 });
const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

// What the user does.

function send(text) {
  if (running || !text.trim()) return;
  turns.push({ role: "user", text });
  if (turns.length > 1) show(turns.length - 2); // it is the last no more
  show(turns.length - 1);
  saveTurns();
  ui.prompt.value = "";
  reply();
}

// again answers the last message once more.
function again() {
  if (running) return;
  while (turns.at(-1)?.role === "assistant") {
    turns.pop();
    ui.log.lastChild.remove();
  }
  ui.prompt.focus();
  if (turns.length > 0) reply();
}

// edit takes the last message back to be changed.
function edit() {
  ui.prompt.value = turns.pop().text;
  ui.log.lastChild.remove();
  unfail();
  saveTurns();
  settle();
  ui.prompt.focus();
}

const stop = () => running?.abort();

ui.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  send(ui.prompt.value);
});
ui.prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ui.composer.requestSubmit();
});
ui.stop.addEventListener("click", () => {
  stop();
  ui.prompt.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !ui.settings.open) stop();
});
for (const b of ui.empty.querySelectorAll("button")) {
  b.addEventListener("click", () => {
    send(b.textContent);
    ui.prompt.focus();
  });
}
ui.clear.addEventListener("click", () => {
  stop();
  turns.length = 0;
  unfail();
  ui.status.textContent = "";
  saveTurns();
  showAll();
  ui.prompt.focus();
});
ui["key-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  key = ui.key.value.trim();
  save(sessionStorage, "troupe.key", key);
  ui.key.value = "";
  unfail();
  settle();
  ui.prompt.focus();
  greet();
  if (turns.at(-1)?.role === "user") again();
});

// Settings are kept as they are typed; what is not valid is as good as empty.
function readSettings() {
  settings.system = ui.system.value;
  settings.tools = isTools(ui.tools.value) ? ui.tools.value : undefined;
  ui.tools.setCustomValidity(ui.tools.value.trim() && !settings.tools ? "This is not a JSON array of functions." : "");
  for (const name of numbers) {
    const field = ui[name];
    settings[name] = field.value === "" || !field.checkValidity() ? undefined : field.valueAsNumber;
  }
  save(localStorage, "troupe.settings", settings);
}

function isTools(text) {
  try {
    return Array.isArray(JSON.parse(text));
  } catch {
    return false;
  }
}

function showSettings() {
  ui.system.value = settings.system ?? "";
  ui.tools.value = settings.tools ?? "";
  for (const name of numbers) ui[name].value = settings[name] ?? "";
}

ui["open-settings"].addEventListener("click", () => ui.settings.showModal());
ui.settings.addEventListener("input", readSettings);
ui.reset.addEventListener("click", () => {
  for (const field of ui.settings.querySelectorAll("input, textarea")) field.value = "";
  readSettings();
});

// greet shows which model is served.
async function greet() {
  try {
    const { data } = await (await call("v1/models")).json();
    ui.model.textContent = data[0].id;
    document.title = `${data[0].id} · Troupe`;
  } catch (e) {
    if (e.status === 401) failed(e);
  }
}

// resume shows what was kept.
function resume() {
  const last = turns.at(-1);
  if (last?.open) {
    last.open = false;
    last.note = ["interrupted", last.note].filter(Boolean).join(" · ");
  }
  showSettings();
  showAll();
  if (last?.role === "user" || last?.role === "tool") failed(new Failure("The last message has no answer yet."));
  follow();
}

// A page that is left takes its requests with it.
let leaving = false;
window.addEventListener("pagehide", () => {
  leaving = true;
  saveTurns();
});
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
resume();
if (matchMedia("(pointer: fine)").matches) ui.prompt.focus();
greet();
