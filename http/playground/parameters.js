// The parameters of a request: what is empty is left to the server, whose
// defaults are shown.
import { $, element } from "./dom.js";
import { load, save } from "./store.js";

// The fields, in the order they are shown. A field is a number unless it says
// otherwise; `fallback` says what happens without it, given what the server
// said.
const fields = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, help: "0 takes the likeliest token" },
  { name: "top_p", label: "Top p", min: 0, max: 1, help: "draws from the likeliest that make up this share" },
  { name: "top_k", label: "Top k", min: 0, step: 1, help: "draws from so many; 0 from all", fallback: (d) => (d.top_k === 0 ? "0, all" : d.top_k) },
  { name: "min_p", label: "Min p", min: 0, max: 1, help: "leaves out what is this much less likely than the likeliest" },
  { name: "max_tokens", label: "Max tokens", min: 1, step: 1, help: "of a reply, thoughts included", fallback: (d) => (d.context ? `what is left of ${d.context.toLocaleString("en")}` : "what the context has left") },
  { name: "min_tokens", label: "Min tokens", min: 0, step: 1, help: "before a reply may end", fallback: () => 0 },
  { name: "repetition_penalty", label: "Repetition penalty", min: 0.01, max: 100, help: "above 1 for tokens that were there, prompt included" },
  { name: "presence_penalty", label: "Presence penalty", min: -2, max: 2, help: "for tokens that were in the reply" },
  { name: "frequency_penalty", label: "Frequency penalty", min: -2, max: 2, help: "for each time that they were" },
  { name: "seed", label: "Seed", step: 1, help: "the same gives the same reply", fallback: () => "drawn anew each time" },
  { name: "stop", label: "Stop", kind: "lines", help: "strings that end a reply, one a line", fallback: () => "none" },
  { name: "logit_bias", label: "Logit bias", kind: "object", help: 'by token id: {"42": -100}', fallback: () => "none" },
  { name: "reasoning_effort", label: "Reasoning effort", kind: "choice", help: "how much the model thinks first", fallback: () => "the model's" },
];

const settings = load("troupe.settings", {});
const inputs = {}; // by name
let defaults = { context: 0 };

// requested is what a request says of parameters.
export function requested() {
  const body = {};
  for (const { name } of fields) if (settings[name] !== undefined) body[name] = settings[name];
  if (!defaults.reasoning_efforts?.includes(body.reasoning_effort)) delete body.reasoning_effort;
  if (settings.tools) body.tools = JSON.parse(settings.tools);
  if (settings.probabilities !== false) Object.assign(body, { logprobs: true, top_logprobs: 5 });
  return body;
}

export const systemPrompt = () => settings.system ?? "";

// showDefaults says what an empty field means here.
export function showDefaults(given) {
  defaults = { ...defaults, ...given };
  for (const field of fields) {
    const { name, fallback, help } = field;
    const value = fallback ? fallback(defaults) : defaults[name];
    if (value === undefined) continue;
    const input = inputs[name];
    if (field.kind === "choice") {
      const efforts = defaults.reasoning_efforts ?? [];
      input.closest(".field").hidden = efforts.length === 0;
      input.replaceChildren(...["", ...efforts].map((v) => new Option(v || "default", v, false, v === settings[name])));
    }
    if ("placeholder" in input && field.kind === undefined) input.placeholder = name === "seed" || name === "max_tokens" ? "" : fitting(value);
    $(`h-${name}`).replaceChildren(element("b", "", `Default ${fitting(value)}`), ` · ${help}`);
  }
}

// fitting is a number as it was meant: the server's are of 32 bits.
const fitting = (v) => (typeof v === "number" ? String(Number(v.toPrecision(6))) : String(v));

// build makes the fields.
function build() {
  for (const field of fields) {
    const tag = { lines: "textarea", object: "input", choice: "select" }[field.kind] ?? "input";
    const input = element(tag);
    input.id = `p-${field.name}`;
    if (field.kind === undefined) {
      Object.assign(input, { type: "number", inputMode: field.step ? "numeric" : "decimal", step: field.step ?? "any" });
      if (field.min !== undefined) input.min = field.min;
      if (field.max !== undefined) input.max = field.max;
    }
    if (tag === "textarea") input.rows = 1;
    input.setAttribute("aria-describedby", `h-${field.name}`);
    inputs[field.name] = input;
    const label = element("label", "", field.label);
    label.htmlFor = input.id;
    const help = element("p", "note", field.help);
    help.id = `h-${field.name}`;
    const box = element("div", "field", label, input, help);
    box.hidden = field.kind === "choice"; // until the server says that there is one
    $("fields").append(box);
  }
}

function show() {
  $("system").value = settings.system ?? "";
  $("tools").value = settings.tools ?? "";
  $("probabilities").checked = settings.probabilities !== false;
  for (const { name, kind } of fields) {
    const value = settings[name] ?? "";
    inputs[name].value = kind === "lines" && value ? value.join("\n") : kind === "object" && value ? JSON.stringify(value) : value;
  }
  count();
}

// count says on the button how many parameters are set.
function count() {
  const set = fields.filter(({ name }) => settings[name] !== undefined).length + (settings.system ? 1 : 0) + (settings.tools ? 1 : 0);
  $("set").textContent = set > 0 ? String(set) : "";
}

// read keeps fields as they are typed; what is not valid is as good as empty.
function read() {
  settings.system = $("system").value || undefined;
  settings.tools = isJSON($("tools").value, Array.isArray) ? $("tools").value : undefined;
  complain($("tools"), !settings.tools, "This is not a JSON array of functions.");
  settings.probabilities = $("probabilities").checked;
  for (const { name, kind } of fields) settings[name] = valueOf(inputs[name], kind);
  complain(inputs.logit_bias, !settings.logit_bias, "This is not a JSON object.");
  save("troupe.settings", settings);
  count();
}

function valueOf(input, kind) {
  if (input.value.trim() === "") return undefined;
  if (kind === "lines") return input.value.split("\n").filter(Boolean);
  if (kind === "choice") return input.value;
  if (kind === "object") return isJSON(input.value, (v) => v?.constructor === Object) ? JSON.parse(input.value) : undefined;
  return input.checkValidity() ? input.valueAsNumber : undefined;
}

const complain = (input, wrong, what) => input.setCustomValidity(wrong && input.value.trim() ? what : "");

function isJSON(text, good) {
  try {
    return good(JSON.parse(text));
  } catch {
    return false;
  }
}

build();
show();
showDefaults({});
export const openParameters = () => $("settings").showModal();
$("open-settings").addEventListener("click", openParameters);
$("settings").addEventListener("input", read);
$("reset").addEventListener("click", () => {
  for (const name of Object.keys(settings)) delete settings[name];
  show();
  read();
});
