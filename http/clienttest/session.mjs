// Has official clients hold a session with each model of clients_test.go, as
// session.py does:
//
//     SESSIONS=[…] OPENAI_API_KEY=… ANTHROPIC_API_KEY=… node session.mjs DIRECTORY
//
// The clients are looked for in DIRECTORY/node_modules, and so is TypeScript: a
// program that has all that came, as values of the clients' types, must compile.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const directory = resolve(process.argv[2]);
const require = createRequire(resolve(directory, "index.js"));
const { OpenAI } = require("openai");
const { Anthropic } = require("@anthropic-ai/sdk");

const note = `in "°C" & <b>, 'please'`;
const weather = { name: "weather", description: "Tells the weather." };
const schema = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "array", items: { type: "integer" } }, note: { type: "string" } },
  required: ["city", "days", "note"],
};

// Typed values that came, one of each shape.
const came = new Map();

// typed is a value that its type must allow.
function typed(type, value) {
  const text = JSON.stringify(value, (name, v) => {
    if (["reasoning_content", "stop_reason", "store"].includes(name) && type.startsWith("OpenAI")) return undefined;
    if (typeof v?.reasoning === "string") return { ...v, reasoning: undefined };
    if (v?.object === "response") return { ...v, output_text: "" }; // the client adds it
    if (v?.type === "text" && type.startsWith("Anthropic")) return { citations: null, ...v }; // which others do not take
    if (v?.type === "response.function_call_arguments.done") return { ...v, name: undefined };
    return v;
  });
  came.set(type + text.replace(/"(id|delta|text|arguments|content|thinking|partial_json|\w*_id|\w*fingerprint|model|city)":"(\\.|[^"\\])*"/g, "$1").replace(/\d+/g, "0"), [type, text]);
  return value;
}

function compiles() {
  const lines = [...came.values()].map(([type, text], i) => `export const v${i}: ${type} = ${text};`);
  const file = resolve(directory, "came.ts");
  writeFileSync(file, `import type OpenAI from "openai";\nimport type Anthropic from "@anthropic-ai/sdk";\n${lines.join("\n")}\n`);
  const options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext", "--ignoreConfig"];
  const tsc = spawnSync(resolve(directory, "node_modules/.bin/tsc"), [...options, file], { encoding: "utf8", cwd: directory });
  console.log(`${came.size} values of different shapes`);
  assert.equal(tsc.status, 0, tsc.stdout + tsc.stderr);
}

class Chat {
  constructor(server) {
    this.client = new OpenAI({ baseURL: server.URL + "/v1", maxRetries: 0 });
    this.request = { model: server.Name, tools: [{ type: "function", function: { ...weather, parameters: schema } }] };
    this.messages = [{ role: "system", content: "Be kind." }];
  }
  say(content) {
    this.messages.push({ role: "user", content });
  }
  bring(calls, results) {
    results.forEach((content, i) => this.messages.push({ role: "tool", tool_call_id: calls[i].id, content }));
  }
  async ask(streamed) {
    const request = { ...this.request, messages: this.messages };
    let done;
    if (streamed) {
      const stream = this.client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
      stream.on("chunk", (chunk) => typed("OpenAI.Chat.ChatCompletionChunk", chunk));
      done = await stream.finalChatCompletion();
    } else {
      done = typed("OpenAI.Chat.ChatCompletion", await this.client.chat.completions.create(request));
    }
    const { message, finish_reason } = done.choices[0];
    const calls = (message.tool_calls ?? []).map((c) => ({ id: c.id, name: c.function.name, input: JSON.parse(c.function.arguments) }));
    this.messages.push(message);
    assert.equal(finish_reason, calls.length ? "tool_calls" : "stop");
    assert.equal(done.usage.total_tokens, 30);
    return { text: message.content ?? "", calls };
  }
}

class Responses {
  constructor(server) {
    this.client = new OpenAI({ baseURL: server.URL + "/v1", maxRetries: 0 });
    this.request = {
      model: server.Name, instructions: "Be kind.", store: false, include: ["reasoning.encrypted_content"],
      tools: [{ type: "function", ...weather, parameters: schema, strict: false }],
    };
    this.items = [];
  }
  say(content) {
    this.items.push({ role: "user", content });
  }
  bring(calls, results) {
    results.forEach((output, i) => this.items.push({ type: "function_call_output", call_id: calls[i].id, output }));
  }
  async ask(streamed) {
    const request = { ...this.request, input: this.items };
    let done;
    if (streamed) {
      const stream = this.client.responses.stream(request);
      stream.on("event", (event) => typed("OpenAI.Responses.ResponseStreamEvent", plain(event)));
      done = await stream.finalResponse();
    } else {
      done = typed("OpenAI.Responses.Response", await this.client.responses.create(request));
    }
    assert.deepEqual([done.status, done.usage.total_tokens], ["completed", 30]);
    this.items.push(...done.output.map(({ parsed_arguments, ...item }) => item));
    const some = (type) => done.output.filter((item) => item.type === type);
    return {
      thought: some("reasoning").map((item) => item.content[0].text),
      text: done.output_text,
      calls: some("function_call").map((c) => ({ id: c.call_id, name: c.name, input: JSON.parse(c.arguments) })),
    };
  }
}

// plain is an event as it came: the client shows what it has put together, too.
const plain = ({ snapshot, ...event }) => event;

class Messages {
  constructor(server) {
    this.client = new Anthropic({ baseURL: server.URL, maxRetries: 0 });
    this.request = { model: server.Name, max_tokens: 2000, system: "Be kind.", tools: [{ ...weather, input_schema: schema }] };
    this.messages = [];
  }
  say(content) {
    this.messages.push({ role: "user", content });
  }
  bring(calls, results) {
    this.messages.push({ role: "user", content: results.map((content, i) => ({ type: "tool_result", tool_use_id: calls[i].id, content })) });
  }
  async ask(streamed) {
    const request = { ...this.request, messages: this.messages };
    let done;
    if (streamed) {
      const stream = this.client.messages.stream(request);
      stream.on("streamEvent", (event) => typed("Anthropic.RawMessageStreamEvent", event));
      done = await stream.finalMessage();
    } else {
      done = typed("Anthropic.Message", await this.client.messages.create(request));
    }
    this.messages.push({ role: "assistant", content: done.content });
    const some = (type) => done.content.filter((block) => block.type === type);
    const calls = some("tool_use").map(({ id, name, input }) => ({ id, name, input }));
    assert.equal(done.stop_reason, calls.length ? "tool_use" : "end_turn");
    return { thought: some("thinking").map((b) => b.thinking), text: some("text").map((b) => b.text).join(""), calls };
  }
}

async function session(by, server, streamed) {
  const ask = async (thought, text, ...cities) => {
    const got = await by.ask(streamed);
    if (got.thought) assert.deepEqual(got.thought, server.Thinks ? [thought] : []);
    assert.equal(got.text, cities.length && server.Alone ? "" : text);
    const want = cities.map((city) => ({ name: "weather", input: { city, days: [1, 2], note } }));
    assert.deepEqual(got.calls.map(({ name, input }) => ({ name, input })), want);
    return got.calls;
  };
  by.say("How is the weather in Oslo?");
  by.bring(await ask("I must look.", "Let me see.", "Oslo"), ["21 degrees"]);
  await ask("Good.", "It is 21 degrees there.");
  if (!server.Single) {
    by.say("And the weather in Rome and Bergen?");
    by.bring(await ask("Both.", "Two.", "Rome", "Bergen"), ["30 degrees", "12 degrees"]);
    await ask("Good.", "It is 30 degrees and 12 degrees there.");
  }
  by.say("Thank you!");
  await ask("A greeting.", 'Hello, "you"!');
}

// brokenOff has responses that do not go well.
async function brokenOff(server) {
  const { client } = new Responses(server);
  for (const [input, type] of [["Please be cut off", "response.incomplete"], ["Please fail", "response.failed"]]) {
    let last;
    for await (const event of await client.responses.create({ model: server.Name, input, stream: true })) {
      last = typed("OpenAI.Responses.ResponseStreamEvent", event);
    }
    assert.equal(last.type, type);
  }
  typed("OpenAI.Responses.Response", await client.responses.create({ model: server.Name, input: "Please be cut off" }));
}

let held = 0, failed = 0;
for (const server of JSON.parse(process.env.SESSIONS)) {
  for (const kind of [Chat, Responses, Messages]) {
    for (const streamed of [false, true]) {
      held++;
      await session(new kind(server), server, streamed).catch((e) => {
        failed++;
        console.log(`${server.Name} ${kind.name} ${streamed ? "streamed" : "whole"}: ${e.stack}`);
      });
    }
  }
}
console.log(`${held - failed} of ${held} sessions went well`);
await brokenOff(JSON.parse(process.env.SESSIONS)[0]);
compiles();
process.exit(failed ? 1 : 0);
