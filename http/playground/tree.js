// A conversation is a tree: every message may be said otherwise, and each of
// those ways goes on by itself. Nothing here knows of the page.
//
// A chat is {id, title, at, lastID, leaf, turns}. A turn is {id, parent,
// role, text, …}: parent is the id of the turn before it, 0 for the first; leaf
// is the turn that is read last. What else a turn holds: files (of a user),
// thought, calls, note, open (it is being written), error, tokens (of a reply),
// call and name (of a tool's result).

export const newChat = (id, now) => ({ id, title: "", at: now, lastID: 0, leaf: 0, turns: [] });

const find = (chat, id) => chat.turns.find((t) => t.id === id);

// path is what is read: the turns from the first to the leaf.
export function path(chat) {
  const out = [];
  for (let t = find(chat, chat.leaf); t; t = find(chat, t.parent)) out.push(t);
  return out.reverse();
}

// siblings are the ways in which a turn was said, the oldest first.
export const siblings = (chat, turn) => chat.turns.filter((t) => t.parent === turn.parent);

// add appends a turn after another and reads on there.
export function add(chat, parent, turn) {
  const added = { ...turn, id: ++chat.lastID, parent };
  chat.turns.push(added);
  chat.leaf = added.id;
  return added;
}

// choose reads a turn, and what followed it last.
export function choose(chat, turn) {
  for (let next = turn; next; next = chat.turns.findLast((t) => t.parent === next.id)) chat.leaf = next.id;
}

// remove takes a turn away, with all that follows it, and returns them. Then
// another way of saying it is read, or what came before.
export function remove(chat, turn) {
  const gone = new Set([turn.id]);
  for (const t of chat.turns) if (gone.has(t.parent)) gone.add(t.id); // parents come first
  const read = gone.has(chat.leaf);
  const others = siblings(chat, turn);
  const other = others[others.indexOf(turn) + 1] ?? others[others.indexOf(turn) - 1];
  const removed = chat.turns.filter((t) => gone.has(t.id));
  chat.turns = chat.turns.filter((t) => !gone.has(t.id));
  if (read && other) choose(chat, other);
  else if (read) chat.leaf = turn.parent;
  return removed;
}

// putBack takes back what was removed, whatever has been said since, and reads
// it.
export function putBack(chat, removed) {
  const ids = new Set(chat.turns.map((t) => t.id));
  chat.turns.push(...removed.filter((t) => !ids.has(t.id) && (t.parent === 0 || ids.has(t.parent)) && ids.add(t.id)));
  chat.turns.sort((a, b) => a.id - b.id);
  const first = find(chat, removed[0].id);
  if (first) choose(chat, first);
}

// titleOf is a chat's name: what its owner called it, else how it begins.
export function titleOf(chat) {
  if (chat.title) return chat.title;
  const first = chat.turns.find((t) => t.role === "user");
  const text = (first?.text || first?.files?.[0]?.name || "").trim().split("\n")[0];
  return text.length > 60 ? `${text.slice(0, 59).trimEnd()}…` : text || "New chat";
}

// Files. What is exported can be imported, here or elsewhere.

const format = "troupe.conversations";

export const exported = (chats) => `${JSON.stringify({ format, version: 1, conversations: chats }, null, 1)}\n`;

// imported reads a file that was exported, or a list of messages as the API
// takes it. The chats get new ids. Its error says what is wrong, and where.
export function imported(text, newID, now) {
  let file;
  try {
    file = JSON.parse(text);
  } catch (e) {
    throw new Error(`it is not JSON: ${e.message}`);
  }
  const messages = Array.isArray(file) ? file : file?.messages;
  if (Array.isArray(messages)) return [ofMessages(messages, newID(), now)];
  if (file?.format !== format) throw new Error(`it is neither ${format} nor a list of messages`);
  if (file.version !== 1) throw new Error(`its version is ${file.version}, and 1 is understood`);
  if (!Array.isArray(file.conversations)) throw new Error("conversations: must be a list");
  return file.conversations.map((chat, i) => checked(chat, `conversations[${i}]`, newID(), now));
}

const roles = ["user", "assistant", "tool"];

// checked is a chat with exactly what belongs there.
function checked(chat, where, id, now) {
  if (!Array.isArray(chat?.turns)) throw new Error(`${where}.turns: must be a list`);
  const out = { ...newChat(id, Number.isFinite(chat.at) ? chat.at : now), title: String(chat.title ?? "").slice(0, 200) };
  const ids = new Map([[0, 0]]);
  for (const [i, t] of chat.turns.entries()) {
    const at = `${where}.turns[${i}]`;
    if (!roles.includes(t?.role)) throw new Error(`${at}.role: must be one of ${roles.join(", ")}`);
    if (typeof t.text !== "string") throw new Error(`${at}.text: must be a string`);
    if (!ids.has(t.parent)) throw new Error(`${at}.parent: must be the id of a turn before it, or 0`);
    if (!Number.isInteger(t.id) || ids.has(t.id)) throw new Error(`${at}.id: must be a number of its own`);
    ids.set(t.id, add(out, ids.get(t.parent), kept(t, at)).id);
  }
  if (ids.has(chat.leaf)) out.leaf = ids.get(chat.leaf);
  return out;
}

// What a turn may hold besides its role and text, and of what form that is.
const isText = (v) => typeof v === "string";
const members = {
  thought: isText, note: isText, error: isText, call: isText, name: isText, model: isText,
  files: (v) => Array.isArray(v) && v.every((f) => isText(f?.name) && isText(f.text)),
  calls: (v) => Array.isArray(v) && v.every((c) => isText(c?.id) && isText(c.name) && isText(c.arguments)),
  tokens: (v) => Array.isArray(v) && v.every((t) => Array.isArray(t) && isText(t[0]) && Number.isFinite(t[1]) &&
    Array.isArray(t[2]) && t[2].every((o) => Array.isArray(o) && isText(o[0]) && Number.isFinite(o[1]))),
};

function kept(turn, at) {
  const out = { role: turn.role, text: turn.text };
  for (const [name, good] of Object.entries(members)) {
    if (turn[name] === undefined) continue;
    if (!good(turn[name])) throw new Error(`${at}.${name}: is not of the form that is exported`);
    out[name] = turn[name];
  }
  return out;
}

function ofMessages(messages, id, now) {
  const chat = newChat(id, now);
  for (const [i, m] of messages.entries()) {
    const at = `messages[${i}]`;
    if (m?.role === "system" || m?.role === "developer") throw new Error(`${at}: a system prompt is set in the parameters`);
    if (!roles.includes(m?.role)) throw new Error(`${at}.role: must be one of ${roles.join(", ")}`);
    const parts = Array.isArray(m.content) ? m.content.map((p) => p?.text) : [m.content ?? ""];
    if (!parts.every(isText)) throw new Error(`${at}.content: must be text`);
    const turn = { role: m.role, text: parts.join("\n") };
    if (m.tool_calls) turn.calls = m.tool_calls.map((c) => ({ id: c?.id, name: c?.function?.name, arguments: c?.function?.arguments }));
    if (m.role === "tool") Object.assign(turn, { call: m.tool_call_id, name: m.name ?? "tool" });
    add(chat, chat.leaf, kept(turn, at));
  }
  return chat;
}
