// The conversation on view: sent whole with each message, its reply read as it
// is written. Replies go on when another conversation is looked at.
import { call, Clock, events, Failure, message, read, useKey } from "./api.js";
import { $, round, setText, toast } from "./dom.js";
import { hasAttached, takeAttached } from "./files.js";
import { requested, showDefaults, systemPrompt } from "./parameters.js";
import { hideTip } from "./probabilities.js";
import { chats, keep, load, newID, restore, save, touch, view } from "./store.js";
import { add, choose, newChat, path, putBack, remove, siblings, titleOf } from "./tree.js";
import { TurnView } from "./turn.js";

const ui = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
const replies = new Map(); // by chat: the AbortController of the reply being written
let views = []; // of the turns that are read, in their order
let model = "";
let served = []; // models, of which each is asked for by its name where there are several

export const isRunning = (chat) => replies.has(chat);

// Showing.

// show draws the conversation: what stays as it was is left alone.
function show() {
  const turns = path(view.chat);
  let same = 0;
  while (same < turns.length && views[same]?.turn === turns[same]) same++;
  for (const v of views.splice(same)) v.element.remove();
  for (const turn of turns.slice(same)) {
    const v = new TurnView(turn, acts);
    views.push(v);
    ui.log.append(v.element);
  }
  views.forEach((v, i) => i >= same - 1 && showTurn(v));
  settle();
}

function showTurn(v) {
  v.show({ siblings: siblings(view.chat, v.turn), last: v === views.at(-1) });
}

const viewOf = (turn) => views.find((v) => v.turn === turn);

// settle shows what fits the state.
function settle() {
  const running = isRunning(view.chat);
  const title = titleOf(view.chat);
  ui.empty.hidden = views.length > 0 || !ui["key-form"].hidden;
  ui.send.hidden = running;
  ui.stop.hidden = !running;
  ui.log.ariaBusy = String(running);
  setText(ui["sheet-title"], title);
  setText(ui["sheet-note"], [model, new Date(view.chat.at).toLocaleString()].filter(Boolean).join(" · "));
  document.title = views.length > 0 ? `${title} · Troupe` : model ? `${model} · Troupe` : "Troupe";
}

// The end stays in view, unless the reader has scrolled away from it.
let following = true;
ui.scroll.addEventListener("scroll", () => {
  following = ui.scroll.scrollHeight - ui.scroll.scrollTop - ui.scroll.clientHeight < 48;
}, { passive: true });
const follow = () => following && ui.scroll.scrollTo(0, ui.scroll.scrollHeight);

// openChat looks at a conversation.
export function openChat(chat) {
  view.chat = chat;
  save("troupe.view", chat.id);
  views = [];
  ui.log.replaceChildren();
  ui.status.textContent = "";
  ui["key-form"].hidden = true;
  hideTip();
  show();
  following = true;
  follow();
  document.dispatchEvent(new Event("chats"));
}

export function startChat() {
  openChat(newChat(newID(), Date.now()));
  ui.prompt.focus();
}

// Replies.

// question is the request for what comes after a turn. Replies that failed
// before their first word are not told of.
function question(chat) {
  const messages = path(chat).filter((t) => !(t.error && !t.text && !t.calls)).map(message);
  if (systemPrompt()) messages.unshift({ role: "system", content: systemPrompt() });
  return JSON.stringify({ ...(served.length > 1 && { model }), messages, stream: true, stream_options: { include_usage: true }, ...requested() });
}

// reply asks for an answer to what is read and shows it as it comes.
async function reply(chat) {
  ui["key-form"].hidden = true;
  const body = question(chat);
  const controller = new AbortController();
  replies.set(chat, controller);
  const turn = add(chat, chat.leaf, { role: "assistant", text: "", note: "", open: true, model });
  const clock = new Clock();
  following = true;
  show();
  const painter = new Painter(chat, turn, clock);
  let error = null;
  let finish = "";
  try {
    const response = await call("v1/chat/completions", {
      method: "POST", body, signal: controller.signal, headers: { "Content-Type": "application/json" },
    });
    painter.id = response.headers.get("X-Request-Id");
    for await (const event of events(response)) {
      if (event.error) throw new Failure(event.error.message);
      finish = read(event, turn, clock) ?? finish;
    }
  } catch (e) {
    if (e.name === "AbortError") finish = "stopped";
    else error = e;
  }
  painter.stop();
  replies.delete(chat);
  if (leaving) return; // it is to be found as it was
  delete turn.open;
  turn.note = clock.note(finish);
  if (error && !chat.turns.includes(turn)) error = null; // it was removed
  if (error) failed(chat, turn, error);
  if (chats.includes(chat)) keep(chat);
  if (view.chat !== chat) return;
  ui.status.textContent = finish === "stopped" ? "Stopped" : "";
  show();
  if (viewOf(turn)) showTurn(viewOf(turn));
  follow();
  document.dispatchEvent(new CustomEvent("replied", { detail: painter.id }));
}

// failed notes with a reply why it failed. Where only a key is missing it was no
// reply: the key is asked for.
function failed(chat, turn, error) {
  if (error.status === 401) {
    remove(chat, turn);
    if (view.chat === chat) askKey();
    return;
  }
  turn.error = error.message + (error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "");
}

// Painter shows a reply under way, as often as an eye can follow, and never
// more than a fifth of the time.
class Painter {
  constructor(chat, turn, clock) {
    Object.assign(this, { chat, turn, clock, saved: 0, timer: 0 });
    this.paint();
  }

  paint() {
    const began = performance.now();
    this.turn.note = this.clock.note();
    if (view.chat === this.chat) this.show();
    if (began - this.saved > 1000) { // for a reload without warning
      this.saved = began;
      if (chats.includes(this.chat)) keep(this.chat); // else it was deleted
    }
    this.timer = setTimeout(() => this.paint(), Math.max(40, 4 * (performance.now() - began)));
  }

  show() {
    const v = viewOf(this.turn);
    if (!v) return;
    showTurn(v);
    const { first } = this.clock;
    setText(ui.status, first ? "Writing …" : "Waiting for the first token …");
    if (first) setText(ui.speed, `${round(this.clock.rate())} tokens/s`);
    follow();
  }

  stop() {
    clearTimeout(this.timer);
    if (this.clock.first) setText(ui.speed, `${round(this.clock.rate())} tokens/s`);
  }
}

// What can be done with turns.

// taken removes a turn, and says how to have it back.
function taken(turn, what) {
  const chat = view.chat;
  const removed = remove(chat, turn);
  keep(chat);
  show();
  toast(what, "Undo", () => {
    putBack(chat, removed);
    keep(chat);
    if (view.chat === chat) show();
  });
}

const parentOf = (turn) => view.chat.turns.find((t) => t.id === turn.parent);

const acts = {
  // edit says a turn otherwise: a question is asked anew, a reply stands.
  edit(turn, text) {
    const { role, files, calls, thought } = turn;
    if (isRunning(view.chat)) return;
    add(view.chat, turn.parent, { role, text, ...(files && { files }), ...(calls && { calls }), ...(thought && { thought }), ...(role === "assistant" && { note: "edited" }) });
    touch(view.chat);
    keep(view.chat);
    show();
    if (role === "user") reply(view.chat);
  },
  // again asks for another reply to the same.
  again(turn) {
    if (isRunning(view.chat)) return;
    view.chat.leaf = turn.parent;
    ui.prompt.focus();
    reply(view.chat);
  },
  // retry does so in place of one that failed.
  retry(turn) {
    if (isRunning(view.chat)) return;
    const { parent } = turn;
    remove(view.chat, turn);
    view.chat.leaf = parent;
    ui.prompt.focus();
    reply(view.chat);
  },
  editQuestion(turn) {
    viewOf(parentOf(turn))?.edit();
  },
  // remove takes a turn away with what follows it; a reply that failed and has
  // no other beside it goes with its question.
  remove(turn) {
    if (isRunning(view.chat)) return;
    const alone = turn.error && !turn.text && siblings(view.chat, turn).length === 1 && parentOf(turn)?.role === "user";
    taken(alone ? parentOf(turn) : turn, alone ? "The message and its reply are removed." : "Removed, with what followed.");
    ui.prompt.focus();
  },
  choose(turn, by) {
    choose(view.chat, turn);
    keep(view.chat);
    show();
    const buttons = viewOf(turn).foot.querySelectorAll(".ways button");
    [buttons[by > 0 ? 1 : 0], buttons[by > 0 ? 0 : 1]].find((b) => !b.disabled)?.focus(); // the one that was pressed is new
  },
  results(turn, texts) {
    if (isRunning(view.chat)) return;
    turn.calls.forEach((c, n) => add(view.chat, view.chat.leaf, { role: "tool", call: c.id, name: c.name, text: texts[n] }));
    keep(view.chat);
    show();
    ui.prompt.focus();
    reply(view.chat);
  },
};

// What the user does.

function send(text) {
  if (isRunning(view.chat) || !text.trim() && !hasAttached()) return;
  const files = takeAttached();
  add(view.chat, view.chat.leaf, { role: "user", text, ...(files.length > 0 && { files }) });
  touch(view.chat);
  keep(view.chat);
  save("troupe.view", view.chat.id);
  ui.prompt.value = "";
  reply(view.chat);
}

export const stopReply = (chat) => replies.get(chat)?.abort();
export const stop = () => stopReply(view.chat);
export const regenerate = () => {
  const last = views.findLast((v) => v.turn.role === "assistant")?.turn;
  if (last) (last.error ? acts.retry : acts.again)(last);
};
export const editLast = () => views.findLast((v) => v.turn.role === "user")?.edit();
export const copyLast = () => views.findLast((v) => v.turn.role === "assistant")?.foot.querySelector("[aria-label=Copy]")?.click();

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
for (const b of ui.empty.querySelectorAll("button")) {
  b.addEventListener("click", () => {
    send(b.textContent);
    ui.prompt.focus();
  });
}

// The key.

function askKey() {
  ui["key-form"].hidden = false;
  show();
  follow();
  ui.key.focus();
}

ui["key-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(ui.key.value.trim());
  ui.key.value = "";
  ui["key-form"].hidden = true;
  settle();
  ui.prompt.focus();
  greet();
  if (["user", "tool"].includes(views.at(-1)?.turn.role)) reply(view.chat);
});

// greet shows which model is served, of several a choice, and what it does when nothing is said.
async function greet() {
  try {
    const { data } = await (await call("v1/models")).json();
    served = data.filter((m, i) => i === data.findIndex((o) => o.root === m.root)); // its other names are the same
    const names = served.map((m) => m.id);
    const last = load("troupe.model", "");
    ui.models.replaceChildren(...names.map((name) => new Option(name)));
    ui.models.hidden = names.length === 1;
    ui.model.hidden = names.length > 1;
    await use(names.includes(last) ? last : names[0]);
  } catch (e) {
    if (e.status === 401) askKey();
  }
}

// use has a model be asked from now on.
async function use(name) {
  model = ui.models.value = name;
  setText(ui.model, model);
  ui.model.title = model;
  settle();
  const { sampling } = await (await call(served.length > 1 ? `stats?model=${encodeURIComponent(model)}` : "stats")).json();
  showDefaults({ ...sampling, context: served.find((m) => m.id === name).max_model_len });
}

ui.models.addEventListener("change", () => {
  save("troupe.model", ui.models.value);
  use(ui.models.value).catch(() => {}); // its defaults are not to be had
});

// resume shows what was kept. A reply that was being written when the page was
// left is as long as it was; a question without one may be asked again.
function resume() {
  restore();
  for (const chat of chats) {
    for (const t of chat.turns) {
      if (!t.open) continue;
      delete t.open;
      t.note = ["interrupted", t.note].filter(Boolean).join(" · ");
    }
  }
  const last = path(view.chat).at(-1);
  if (last && last.role !== "assistant") add(view.chat, last.id, { role: "assistant", text: "", error: "The last message has no answer yet." });
  openChat(view.chat);
}

// A page that is left takes its requests with it.
let leaving = false;
addEventListener("pagehide", () => {
  leaving = true;
  for (const chat of replies.keys()) keep(chat);
});
addEventListener("pageshow", (event) => event.persisted && location.reload());
resume();
if (matchMedia("(pointer: fine)").matches) ui.prompt.focus();
greet();

