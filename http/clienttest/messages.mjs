// Has conversations by Anthropic's official client with the server of clients_test.go.
//
//     BASE_URL=http://… ANTHROPIC_API_KEY=… node messages.mjs DIRECTORY
//
// The client is looked for in DIRECTORY/node_modules.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const { Anthropic } = createRequire(resolve(process.argv[2], "index.js"))("@anthropic-ai/sdk");
const connect = (more) => new Anthropic({ baseURL: process.env.BASE_URL, maxRetries: 0, ...more });
const client = connect();
const request = { model: "fake", max_tokens: 100 };
const tools = [
  {
    name: "weather",
    description: "Tells the weather.",
    input_schema: { type: "object", properties: { city: { type: "string" }, days: { type: "array" } }, required: ["city"] },
  },
];

const whole = (more) => client.messages.create({ ...request, ...more });

async function streamed(more) {
  const seen = [];
  const stream = client.messages.stream({ ...request, ...more });
  stream.on("streamEvent", (e) => seen.push(e.type));
  const message = await stream.finalMessage();
  assert.equal(seen[0], "message_start");
  assert.equal(seen.at(-1), "message_stop");
  const count = (type) => seen.filter((t) => t === type).length;
  assert.deepEqual([count("content_block_start"), count("content_block_stop")], [message.content.length, message.content.length]);
  return message;
}

const user = (content) => [{ role: "user", content }];

for (const ask of [whole, streamed]) {
  let message = await ask({ system: [{ type: "text", text: "Be kind.", cache_control: { type: "ephemeral" } }], messages: user("Hello") });
  assert.deepEqual(message.content.map((b) => b.type), ["thinking", "text"]);
  assert.deepEqual([message.content[0].thinking, message.content[1].text], ["A greeting.", 'Hello, "you"!']);
  assert.deepEqual([message.role, message.stop_reason, message.stop_sequence], ["assistant", "end_turn", null]);
  const u = message.usage;
  assert.deepEqual([u.input_tokens, u.cache_read_input_tokens, u.output_tokens], [4, 16, 10]);
  assert.ok(message.id.startsWith("msg_") && message.content[0].signature);

  message = await ask({ messages: user("Please count"), stop_sequences: ["four"] });
  assert.deepEqual([message.content[0].text, message.stop_reason, message.stop_sequence], ["one two three ", "stop_sequence", "four"]);
}

assert.ok((await whole({ messages: user("Hello") }))._request_id);
assert.ok((await client.messages.countTokens({ model: "fake", messages: user("Hello"), tools })).input_tokens > 5);

async function refused(kind, status, says, call) {
  const e = await call().then(() => assert.fail(`${says}: nothing is refused`), (e) => e);
  assert.ok(e instanceof kind && e.status === status && e.message.includes(says), e);
}

const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "aa" } };
await refused(Anthropic.AuthenticationError, 401, "valid API key", () => connect({ apiKey: "wrong" }).messages.create({ ...request, messages: user("Hello") }));
await refused(Anthropic.NotFoundError, 404, "not served here", () => client.messages.create({ model: "claude", max_tokens: 1, messages: user("Hello") }));
await refused(Anthropic.BadRequestError, 400, "is not supported", () => whole({ messages: user([image]) }));
await refused(Anthropic.BadRequestError, 400, "temperature", () => whole({ messages: user("Hello"), temperature: 9 }));
await refused(Anthropic.InternalServerError, 503, "device failed", () => whole({ messages: user("Please fail") }));
await refused(Anthropic.APIError, undefined, "device failed", () => streamed({ messages: user("Please fail") }));
