// Has the conversations of suite.json by the official JavaScript client.
//
//     TROUPE_URL=http://… API_KEY=… node suite.mjs DIRECTORY
//
// The client is looked for in DIRECTORY/node_modules. What the wants mean is
// said in suite_test.go, which has the same conversations by the Go client.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";

const { OpenAI } = createRequire(resolve(process.argv[2], "index.js"))("openai");
const suite = JSON.parse(readFileSync(new URL("suite.json", import.meta.url)));

const connect = (apiKey) => new OpenAI({ baseURL: process.env.TROUPE_URL + "/v1", apiKey, maxRetries: 0 });

const likelihoods = (logprobs) =>
  (logprobs?.content ?? []).map((t) => [t.token, t.logprob, t.top_logprobs.map((o) => [o.token, o.logprob])]);

const usageOf = (u) => [u.prompt_tokens, u.completion_tokens];

async function whole(client, request) {
  const got = await client.chat.completions.create(request);
  return {
    choices: got.choices.map((c) => ({
      content: c.message.content ?? "",
      finish: c.finish_reason,
      calls: (c.message.tool_calls ?? []).map((t) => [t.function.name, JSON.parse(t.function.arguments)]),
      logprobs: likelihoods(c.logprobs),
    })),
    usage: usageOf(got.usage),
  };
}

async function stream(client, request) {
  const choices = [];
  let usage, chunks = 0;
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } })) {
    chunks++;
    usage = chunk.usage ?? usage;
    for (const c of chunk.choices) {
      const all = (choices[c.index] ??= { content: "", finish: null, calls: [], logprobs: [] });
      all.content += c.delta.content ?? "";
      all.finish = c.finish_reason ?? all.finish;
      for (const t of c.delta.tool_calls ?? []) {
        const call = (all.calls[t.index] ??= [t.function.name, ""]);
        call[1] += t.function.arguments ?? "";
      }
      all.logprobs.push(...likelihoods(c.logprobs));
    }
  }
  for (const c of choices) c.calls = c.calls.map(([name, text]) => [name, JSON.parse(text)]);
  return [{ choices, usage: usageOf(usage) }, chunks];
}

const typeOf = (v) => (Array.isArray(v) ? "array" : typeof v);

function hasTypes(value, want) {
  const names = Object.keys(want);
  return typeOf(value) === "object" && (!names.length || names.length === Object.keys(value).length) &&
    names.every((k) => typeOf(value[k]) === want[k]);
}

// What is wrong with an answer.
function* faults(got, want) {
  if (got.choices.length !== (want.choices ?? 1)) yield `${got.choices.length} choices`;
  if (got.usage.some((n) => !(n > 0))) yield `usage ${got.usage}`;
  if (want.tokens && got.usage[1] !== want.tokens) yield `${got.usage[1]} tokens, want ${want.tokens}`;
  for (const c of got.choices) {
    if (!want.finish.includes(c.finish)) yield `it finished with ${c.finish}`;
    if (want.matches && !new RegExp(want.matches).test(c.content)) yield `it does not match ${want.matches}`;
    if (want.json && !hasTypes(JSON.parse(c.content), want.json)) yield `the members are others than ${JSON.stringify(want.json)}`;
    if (c.calls.length > 0 !== "call" in want) yield `it calls ${JSON.stringify(c.calls)}`;
    for (const [name, args] of want.call ? c.calls : []) {
      if (name !== want.call.name || !hasTypes(args, want.call.arguments)) yield `it calls ${name} with ${JSON.stringify(args)}`;
    }
    if (c.logprobs.length > 0 !== "logprobs" in want) yield `log-probabilities of ${c.logprobs.length} tokens`;
    for (const [token, logprob, top] of c.logprobs) {
      if (logprob > 0 || top.length !== want.logprobs || top[0][0] !== token || top[1][1] > top[0][1]) {
        yield `log-probability of ${JSON.stringify(token)}: ${logprob}, ${JSON.stringify(top)}`;
      }
    }
  }
}

// What is wrong with a refusal.
async function refused(ask, want) {
  try {
    await ask();
  } catch (e) {
    if (!(e instanceof OpenAI.APIError)) throw e;
    const got = { status: e.status, param: e.param, code: e.code, type: e.type };
    const found = Object.keys(want).filter((k) => got[k] !== want[k]).map((k) => `${k} is ${got[k]}, want ${want[k]}`);
    return e.error?.message ? found : [...found, "no message"];
  }
  return ["it was not refused"];
}

async function converse(client, model, c) {
  let messages = c.messages;
  if (c.repeat) messages = [{ ...messages[0], content: messages[0].content.repeat(c.repeat) }];
  const request = () => ({ model, ...suite.defaults, ...c.request, messages });
  if (c.want.error) {
    return [
      ...(await refused(() => whole(client, request()), c.want.error)),
      ...(await refused(() => stream(client, request()), c.want.error)),
    ];
  }
  for (const text of c.then ?? []) {
    const said = (await whole(client, request())).choices[0].content;
    messages = [...messages, { role: "assistant", content: said }, { role: "user", content: text }];
  }
  const all = await whole(client, request());
  const found = [...faults(all, c.want)];
  const [streamed, chunks] = await stream(client, request());
  if (c.want.call) streamed.usage = all.usage; // a call ends a reply: a token more may have been on its way
  if (!isDeepStrictEqual(streamed, all)) found.push(`streamed ${JSON.stringify(streamed)}\n    whole    ${JSON.stringify(all)}`);
  if (chunks < 3) found.push(`only ${chunks} chunks`);
  return found;
}

const client = connect(process.env.API_KEY);
const model = (await client.models.list()).data[0].id;
let failed = 0;
for (const c of suite.cases) {
  const found = await converse(c.key ? connect(c.key) : client, model, c);
  if (found.length) failed++;
  for (const fault of found) console.log(`${c.name}: ${fault}`);
}
console.log(`javascript: ${suite.cases.length - failed} of ${suite.cases.length} conversations went well`);
process.exit(failed ? 1 : 0);
