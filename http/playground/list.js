// The list of conversations: opened, renamed, deleted, exported, imported.
import { isRunning, openChat, startChat, stopReply } from "./chat.js";
import { $, download, element, iconButton, plural, toast } from "./dom.js";
import { chats, forget, keep, load, newID, remember, save, view } from "./store.js";
import { exported, imported, titleOf } from "./tree.js";

// draw shows the list. What is being renamed is left alone.
let asked = false;
function draw() {
  if (asked) return;
  asked = true;
  queueMicrotask(() => {
    asked = false;
    if ($("chats").querySelector("input")) return;
    $("chats").replaceChildren(...groups());
    $("none").hidden = chats.length > 0;
    $("export").disabled = chats.length === 0;
  });
}

// groups are the days on which people look for what they said.
function groups() {
  const day = new Date().setHours(0, 0, 0, 0);
  const names = [["Today", day], ["Yesterday", day - 864e5], ["This week", day - 6 * 864e5], ["Earlier", -Infinity]];
  const out = [];
  let rest = chats;
  for (const [name, from] of names) {
    const here = rest.filter((c) => c.at >= from);
    rest = rest.filter((c) => c.at < from);
    if (here.length === 0) continue;
    const list = element("ul", "", ...here.map(row));
    const heading = element("h3", "", name);
    heading.id = `day-${names.findIndex(([n]) => n === name)}`;
    list.setAttribute("aria-labelledby", heading.id);
    out.push(heading, list);
  }
  return out;
}

function row(chat) {
  const title = titleOf(chat);
  const open = element("button", "open", title);
  open.type = "button";
  open.title = title;
  if (chat === view.chat) open.ariaCurrent = "true";
  open.addEventListener("click", () => {
    openChat(chat);
    closeDrawer();
  });
  open.addEventListener("dblclick", () => rename(item, chat));
  const item = element("li", isRunning(chat) ? "running" : "", open,
    iconButton("edit", `Rename ${title}`, () => rename(item, chat)),
    iconButton("download", `Export ${title}`, () => download(`${fileName(title)}.json`, exported([chat]))),
    iconButton("delete", `Delete ${title}`, () => discard(chat)));
  return item;
}

const fileName = (title) => title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40) || "conversation";

// rename asks for a title in the row's place.
function rename(item, chat) {
  const field = element("input");
  Object.assign(field, { value: titleOf(chat), ariaLabel: "Title", maxLength: 200 });
  const form = element("form", "", field);
  let done = false;
  const finish = (name) => {
    if (done) return;
    done = true;
    form.remove();
    if (name !== undefined) {
      chat.title = name.trim();
      keep(chat);
      if (chat === view.chat) openChat(chat);
    }
    draw();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    finish(field.value);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    finish();
  });
  field.addEventListener("blur", () => finish(field.value));
  item.replaceChildren(form);
  field.select();
}

// discard deletes a conversation, and says how to have it back.
function discard(chat) {
  const next = chats[chats.indexOf(chat) + 1] ?? chats[chats.indexOf(chat) - 1];
  const viewed = chat === view.chat;
  stopReply(chat);
  forget(chat);
  if (viewed && next) openChat(next);
  else if (viewed) startChat();
  toast(`“${titleOf(chat)}” is deleted.`, "Undo", () => {
    remember(chat);
    if (viewed) openChat(chat);
  });
}

// discardCurrent deletes the one on view.
export const discardCurrent = () => chats.includes(view.chat) && discard(view.chat);

// step looks at the next conversation, or the one before.
export function step(by) {
  const next = chats[chats.indexOf(view.chat) + by];
  if (next) openChat(next);
}

async function take(files) {
  let taken = [];
  for (const file of files) {
    try {
      taken = taken.concat(imported(await file.text(), newID, Date.now()));
    } catch (e) {
      toast(`${file.name} cannot be imported: ${e.message}.`);
      return; // all or nothing
    }
  }
  taken.forEach(remember);
  if (taken.length === 0) return;
  openChat(taken[0]);
  toast(`${plural(taken.length, "conversation")} imported.`, "Undo", () => {
    taken.forEach(forget);
    if (taken.includes(view.chat)) startChat();
  });
}

$("export").addEventListener("click", () => download(`troupe-${new Date().toISOString().slice(0, 10)}.json`, exported(chats)));
$("import").addEventListener("click", () => $("import-file").click());
$("import-file").addEventListener("change", async (event) => {
  await take(event.target.files);
  event.target.value = "";
});
for (const b of document.querySelectorAll(".new-chat")) {
  b.addEventListener("click", () => {
    closeDrawer();
    startChat();
  });
}

// The list stands beside the conversation where there is room, else over it.
const wide = matchMedia("(min-width: 72rem)");

function setOpen(open) {
  document.body.classList.toggle("list-open", open);
  $("toggle-list").ariaExpanded = String(open);
  const over = open && !wide.matches;
  $("scrim").hidden = !over;
  $("stage").inert = over;
}

export function toggleList() {
  const open = !document.body.classList.contains("list-open");
  setOpen(open);
  if (wide.matches) save("troupe.list", open);
  else if (open) ($("chats").querySelector("[aria-current]") ?? $("list").querySelector("button")).focus();
  else $("toggle-list").focus();
}

export function closeDrawer() {
  if (wide.matches || !document.body.classList.contains("list-open")) return false;
  setOpen(false);
  return true;
}

const arrange = () => setOpen(wide.matches && load("troupe.list", true));
wide.addEventListener("change", arrange);
$("toggle-list").addEventListener("click", toggleList);
$("scrim").addEventListener("click", closeDrawer);
document.addEventListener("chats", draw);
arrange();
draw();
