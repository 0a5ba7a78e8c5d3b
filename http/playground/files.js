// Files that go with a message, as text.
import { $, element, icon, toast } from "./dom.js";

const largest = 1 << 20; // bytes

let attached = []; // {name, text} of the message being written

// attach reads files and puts them with the message. What is no text stays out.
export async function attach(files) {
  for (const file of files) {
    try {
      attached.push({ name: file.name, text: await textOf(file) });
    } catch (e) {
      toast(`${file.name} was not taken: ${e.message}.`);
    }
  }
  showAttached();
}

async function textOf(file) {
  if (file.size > largest) throw new Error(`it has ${(file.size / largest).toFixed(1)} MB, and 1 MB is the most`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch {
    // Said below.
  }
  throw new Error("it is not text in UTF-8");
}

// takeAttached returns what was attached and forgets it.
export function takeAttached() {
  const files = attached;
  attached = [];
  showAttached();
  return files;
}

export const hasAttached = () => attached.length > 0;

const size = (text) => (text.length < 1000 ? `${text.length} B` : `${(text.length / 1000).toFixed(text.length < 10000 ? 1 : 0)} kB`);

function showAttached() {
  $("attached").replaceChildren(...attached.map((file, i) => {
    const remove = element("button", "icon-button");
    remove.type = "button";
    remove.append(icon("close"));
    remove.ariaLabel = remove.title = `Remove ${file.name}`;
    remove.addEventListener("click", () => {
      attached.splice(i, 1);
      showAttached();
      $("prompt").focus();
    });
    return element("li", "", icon("file"), element("span", "", file.name), element("small", "", size(file.text)), remove);
  }));
  $("attached").hidden = attached.length === 0;
}

// fileList shows the files of a message that was sent; each opens.
export function fileList(files) {
  return element("div", "files", ...files.map(({ name, text }) => {
    const pre = element("pre", "", element("code", "", text));
    pre.tabIndex = 0;
    return element("details", "", element("summary", "", icon("file"), `${name} `, element("small", "", size(text))), pre);
  }));
}

// Files are dropped anywhere on the page, pasted, or chosen.
let depth = 0; // elements that are entered and not left
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
const over = (is) => document.body.classList.toggle("dropping", is);

addEventListener("dragenter", (event) => hasFiles(event) && over(++depth > 0));
addEventListener("dragleave", (event) => hasFiles(event) && over(--depth > 0));
addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  over((depth = 0) > 0);
  attach(event.dataTransfer.files);
  $("prompt").focus();
});
$("prompt").addEventListener("paste", (event) => {
  if (event.clipboardData.files.length === 0) return;
  event.preventDefault();
  attach(event.clipboardData.files);
});
$("attach").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", async (event) => {
  await attach(event.target.files);
  event.target.value = "";
  $("prompt").focus();
});
