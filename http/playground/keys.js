// The keyboard: one table, which is both what works and what is shown.
import { copyLast, editLast, regenerate, startChat, stop } from "./chat.js";
import { $, element } from "./dom.js";
import { closeDrawer, discardCurrent, step, toggleList } from "./list.js";
import { toggleLive } from "./live.js";
import { openParameters } from "./parameters.js";
import { hideTip } from "./probabilities.js";

const mac = /Mac|iPhone|iPad/.test(navigator.platform);
const help = $("help");
const openHelp = () => (help.open ? help.close() : help.showModal());

// Each: the keys as they are shown, with Mod for Ctrl or ⌘; what they do; how. A
// code is event.code.
const shortcuts = [
  ["Conversation", [
    ["Enter", "Send the message"],
    ["Shift Enter", "Break the line"],
    ["Esc", "Stop the reply; close what is open"],
    ["↑", "Edit the last message, when the field is empty"],
    ["Mod Shift Enter", "Another reply", "Enter", regenerate],
    ["Mod Alt C", "Copy the last reply", "KeyC", copyLast],
  ]],
  ["Conversations", [
    ["Mod Alt N", "New chat", "KeyN", startChat],
    ["Alt ↑", "The one above", "ArrowUp", () => step(-1)],
    ["Alt ↓", "The one below", "ArrowDown", () => step(1)],
    ["Mod Shift Backspace", "Delete it, with undo", "Backspace", discardCurrent],
  ]],
  ["Page", [
    ["Mod B", "List of conversations", "KeyB", toggleList],
    ["Mod ,", "Parameters", "Comma", openParameters],
    ["Mod .", "Backstage", "Period", toggleLive],
    ["Mod /", "This list; also ? outside of fields", "Slash", openHelp],
    ["Mod P", "Print the conversation"],
  ]],
];

const bound = shortcuts.flatMap(([, rows]) => rows).filter(([, , code]) => code).map(([keys, , code, act]) => {
  const with_ = (k) => keys.split(" ").includes(k);
  return { code, act, mod: with_("Mod"), alt: with_("Alt"), shift: with_("Shift") };
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return escape(event);
  const typing = event.target.matches?.("input, textarea, select");
  if (event.key === "?" && !typing) return openHelp();
  if (event.key === "ArrowUp" && event.target === $("prompt") && !event.target.value && !event.altKey) {
    event.preventDefault();
    return editLast();
  }
  if (event.getModifierState?.("AltGraph")) return; // it types
  const mod = mac ? event.metaKey : event.ctrlKey;
  const found = bound.find((b) => b.code === event.code && b.mod === mod && b.alt === event.altKey && b.shift === event.shiftKey);
  if (!found || document.querySelector("dialog[open]") && found.act !== openHelp) return;
  event.preventDefault();
  found.act();
});

function escape(event) {
  hideTip();
  if (document.querySelector("dialog[open]")) return; // the browser closes it
  if (closeDrawer()) $("toggle-list").focus();
  else if (!$("toast").hidden && !event.target.matches("#prompt")) $("toast").hidden = true;
  else stop();
}

const named = (key) => ({ Mod: mac ? "⌘" : "Ctrl", Alt: mac ? "⌥" : "Alt", Shift: mac ? "⇧" : "Shift" })[key] ?? key;

$("shortcuts").replaceChildren(...shortcuts.map(([title, rows]) => element("section", "", element("h3", "", title), element("dl", "",
  ...rows.map(([keys, what, , act]) => element("div", act === toggleLive ? "of-live" : "", element("dt", "", what), element("dd", "", ...keys.split(" ").map((k) => element("kbd", "", named(k))))))))));
$("open-help").addEventListener("click", openHelp);
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
}
