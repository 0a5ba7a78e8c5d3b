// Elements and figures: what all other modules use.

export const $ = (id) => document.getElementById(id);

// element makes an element with children: elements, strings, lists of them.
export function element(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  return append(e, children.flat());
}

// append appends one by one: a call has room for some ten thousand arguments,
// and a reply may have more pieces.
export function append(e, children) {
  for (const child of children) e.append(child);
  return e;
}

// button makes one with a word on it.
export function button(label, act, className = "") {
  const b = element("button", className, label);
  b.type = "button";
  b.addEventListener("click", act);
  return b;
}

// icon draws one of the page's symbols.
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  svg.append(use);
  return svg;
}

// iconButton makes one with a symbol on it; its label is its name.
export function iconButton(name, label, act) {
  const b = button("", act, "icon-button");
  b.append(icon(name));
  b.ariaLabel = b.title = label;
  return b;
}

// setText touches the page only when something changed.
export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

export const round = (x) => x.toLocaleString("en", { maximumSignificantDigits: 3 });
export const percent = (x) => `${(100 * x).toLocaleString("en", { maximumFractionDigits: x < 0.0995 ? 1 : 0 })} %`;

// duration says seconds with a unit that fits.
export function duration(seconds) {
  if (seconds >= 1) return `${seconds.toPrecision(seconds < 10 ? 2 : 3)} s`;
  if (seconds >= 1e-3) return `${(seconds * 1e3).toPrecision(seconds < 1e-2 ? 2 : 3)} ms`;
  return `${Math.round(seconds * 1e6)} µs`;
}

export const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

// toast says something in passing, with a button when there is something to do
// about it. It goes by itself, or when the next one comes.
let toastTimer = 0;
export function toast(text, label, act) {
  const box = $("toast");
  const end = () => (box.hidden = true);
  box.replaceChildren(element("span", "", text));
  if (label) {
    box.append(button(label, () => {
      end();
      act();
    }));
  }
  box.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(end, label ? 12000 : 6000);
}

// copy puts a text on the clipboard, and says so on the button.
export async function copy(b, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // forbidden, or the page did not come by HTTPS
    if (!copyAsBefore(text)) {
      toast("The browser does not let this page use the clipboard.");
      return;
    }
    b.focus();
  }
  b.classList.add("done");
  setTimeout(() => b.classList.remove("done"), 1500);
}

// copyAsBefore is the way that needs no HTTPS.
function copyAsBefore(text) {
  const field = element("textarea", "hidden");
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

// download offers a text as a file.
export function download(name, text) {
  const a = element("a");
  a.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 60000);
}
