// What is asked of the server, and what it answers.
import { duration, plural, round } from "./dom.js";

// Failure is an answer other than the one asked for.
export class Failure extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

// The key is kept in this tab only.
let key = "";
try {
  key = JSON.parse(sessionStorage.getItem("troupe.key")) ?? "";
} catch {
  // Storage that is forbidden, or holds something else.
}

export function useKey(given) {
  key = given;
  try {
    sessionStorage.setItem("troupe.key", JSON.stringify(key));
  } catch {
    // Then the page holds it.
  }
}

// call sends a request with the key and returns the response if it is good.
export async function call(path, init = {}) {
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

// events yields the data of a response's server-sent events.
export async function* events(response) {
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

// content is what a message says, with the files that came with it.
function content({ text, files }) {
  const parts = (files ?? []).map(({ name, text: inside }) => {
    const fence = "`".repeat(Math.max(3, ...(inside.match(/`+/g) ?? []).map((m) => m.length + 1)));
    return `${name}:\n${fence}${name.split(".").at(-1)}\n${inside.replace(/\n$/, "")}\n${fence}`;
  });
  return [...parts, text].filter(Boolean).join("\n\n");
}

// message is what the server is told of a turn.
export function message(turn) {
  const { role, text, calls } = turn;
  if (role === "tool") return { role, content: text, tool_call_id: turn.call, name: turn.name };
  if (!calls) return { role, content: content(turn) };
  return { role, content: text, tool_calls: calls.map((c) => ({ id: c.id, type: "function", function: { name: c.name, arguments: c.arguments } })) };
}

// read takes one event into a turn and returns why it finished, if it has.
export function read(event, turn, clock) {
  if (event.usage) clock.tokens = event.usage.completion_tokens;
  const choice = event.choices?.[0];
  if (!choice) return null;
  const { content: text, reasoning_content: thought, tool_calls: calls } = choice.delta;
  if (text || thought || calls) {
    clock.heard();
    turn.text += text ?? "";
    if (thought) turn.thought = (turn.thought ?? "") + thought;
  }
  for (const { index, id, function: f } of calls ?? []) {
    turn.calls ??= [];
    while (turn.calls.length <= index) turn.calls.push({ id: "", name: "", arguments: "" });
    const c = turn.calls[index];
    c.id ||= id ?? "";
    c.name += f.name ?? "";
    c.arguments += f.arguments ?? "";
  }
  if (choice.logprobs?.content && !thought) {
    const short = (p) => Math.round(p * 1000) / 1000;
    for (const t of choice.logprobs.content) {
      (turn.tokens ??= []).push([t.token, short(t.logprob), t.top_logprobs.map((o) => [o.token, short(o.logprob)])]);
    }
  }
  return choice.finish_reason;
}

// Clock measures one reply as its reader sees it.
export class Clock {
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

  // rate is tokens a second after the first; over all of a reply that came at
  // once.
  rate() {
    const n = this.tokens || this.pieces;
    const writing = this.last - this.first;
    return n > 1 && writing > 20 ? (1000 * (n - 1)) / writing : (1000 * n) / (this.last - this.begun);
  }

  // note is what is said under the reply.
  note(finish) {
    const parts = [];
    if (finish === "stopped") parts.push(finish);
    if (finish === "length") parts.push("cut at the token limit");
    if (this.first) {
      parts.push(`${this.tokens ? "" : "about "}${plural(this.tokens || this.pieces, "token")}`);
      parts.push(`${round(this.rate())} tokens/s`);
      parts.push(`first token after ${duration((this.first - this.begun) / 1000)}`);
    }
    return parts.join(" · ");
  }
}
