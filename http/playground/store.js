// The conversations, kept in the browser: one entry each, so that only what
// changed is written.
import { toast } from "./dom.js";
import { add, newChat } from "./tree.js";

const prefix = "troupe.chat.";

// chats are all of them, the latest first. The one on view is chats' as well,
// unless nothing has been said in it.
export const chats = [];
export const view = { chat: null };

export const newID = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

export function load(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise; // storage that is forbidden, or holds something else
  }
}

// save reports whether there was room.
export function save(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false; // full or forbidden: the page goes on with what it holds
  }
}

const changed = () => document.dispatchEvent(new Event("chats"));

// keep writes a chat, and makes room for it: what others say of their tokens'
// probabilities goes first, the oldest's before.
let warned = false;
export function keep(chat) {
  if (!chats.includes(chat)) chats.unshift(chat);
  let kept = save(prefix + chat.id, chat);
  for (const old of chats.toReversed()) {
    if (kept) break;
    if (old === chat || !old.turns.some((t) => t.tokens)) continue;
    for (const t of old.turns) delete t.tokens;
    save(prefix + old.id, old);
    kept = save(prefix + chat.id, chat);
  }
  if (!kept && !warned) {
    warned = true;
    toast("The browser keeps no more: what is new will be gone with this page. Export conversations, then delete some.");
  }
  changed();
}

// touch moves a chat to the front.
export function touch(chat) {
  chat.at = Date.now();
  const i = chats.indexOf(chat);
  if (i > 0) chats.unshift(...chats.splice(i, 1));
}

// forget deletes a chat; remember takes it back.
export function forget(chat) {
  const i = chats.indexOf(chat);
  if (i >= 0) chats.splice(i, 1);
  try {
    localStorage.removeItem(prefix + chat.id);
  } catch {
    // Then it was never there.
  }
  changed();
}

export function remember(chat) {
  chats.push(chat);
  chats.sort((a, b) => b.at - a.at);
  keep(chat);
}

// restore reads what was kept.
export function restore() {
  for (const name of keptNames()) {
    const chat = load(name, null);
    if (Array.isArray(chat?.turns)) chats.push(chat);
  }
  chats.sort((a, b) => b.at - a.at);
  takeOver();
  view.chat = chats.find((c) => c.id === load("troupe.view", "")) ?? chats[0] ?? newChat(newID(), Date.now());
}

function keptNames() {
  try {
    return Object.keys(localStorage).filter((name) => name.startsWith(prefix));
  } catch {
    return [];
  }
}

// takeOver makes a chat of the one conversation that an earlier page kept.
function takeOver() {
  const turns = load("troupe.turns", []);
  if (!Array.isArray(turns) || turns.length === 0) return;
  const chat = newChat(newID(), Date.now());
  for (const { id, ...t } of turns) add(chat, chat.leaf, t.role === "tool" ? { ...t, call: id } : t);
  remember(chat);
  save("troupe.turns", []);
}

// What another tab writes is seen here; but what is on view is this tab's.
addEventListener("storage", (event) => {
  if (!event.key?.startsWith(prefix)) return;
  const i = chats.findIndex((c) => prefix + c.id === event.key);
  if (chats[i] === view.chat && i >= 0) return;
  const chat = load(event.key, null);
  if (i >= 0) chats.splice(i, 1);
  if (chat) chats.push(chat);
  chats.sort((a, b) => b.at - a.at);
  changed();
});
