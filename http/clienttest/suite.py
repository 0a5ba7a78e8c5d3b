"""Has the conversations of suite.json by a Python client: openai or langchain.

    TROUPE_URL=http://… API_KEY=… python suite.py openai|langchain

What the wants mean is said in suite_test.go, which has the same conversations
by the Go client.
"""

import json
import os
import pathlib
import re
import sys

import openai

TYPES = {"string": str, "number": (int, float), "boolean": bool, "array": list}


class OpenAI:
    """The official client."""

    streams_choices = True

    def __init__(self, key, model):
        self.client = openai.OpenAI(base_url=os.environ["TROUPE_URL"] + "/v1", api_key=key, max_retries=0)
        self.model = model or self.client.models.list().data[0].id

    def whole(self, messages, request):
        got = self.client.chat.completions.create(messages=messages, **{"model": self.model, **request})
        return {
            "choices": [choice(c.message, c.finish_reason, c.logprobs) for c in got.choices],
            "usage": [got.usage.prompt_tokens, got.usage.completion_tokens],
        }

    def stream(self, messages, request):
        choices, usage, chunks = {}, None, 0
        for chunk in self.client.chat.completions.create(
            messages=messages, stream=True, stream_options={"include_usage": True}, **{"model": self.model, **request}
        ):
            chunks += 1
            usage = chunk.usage or usage
            for c in chunk.choices:
                add(choices.setdefault(c.index, {"content": "", "finish": None, "calls": [], "logprobs": []}), c)
        for c in choices.values():
            c["calls"] = [[name, json.loads(arguments)] for name, arguments in c["calls"]]
        return {
            "choices": [choices[i] for i in sorted(choices)],
            "usage": [usage.prompt_tokens, usage.completion_tokens],
        }, chunks


def add(whole, c):
    """Adds one chunk's choice to what came of it before."""
    whole["content"] += c.delta.content or ""
    whole["finish"] = c.finish_reason or whole["finish"]
    for call in c.delta.tool_calls or []:
        if call.index == len(whole["calls"]):
            whole["calls"].append([call.function.name, ""])
        whole["calls"][call.index][1] += call.function.arguments or ""
    whole["logprobs"] += likelihoods(c.logprobs)


def choice(message, finish, logprobs):
    return {
        "content": message.content or "",
        "finish": finish,
        "calls": [[c.function.name, json.loads(c.function.arguments)] for c in message.tool_calls or []],
        "logprobs": likelihoods(logprobs),
    }


def likelihoods(logprobs):
    return [
        [t.token, t.logprob, [[o.token, o.logprob] for o in t.top_logprobs]]
        for t in (logprobs.content if logprobs else None) or []
    ]


class LangChain:
    """LangChain's chat model for OpenAI."""

    streams_choices = False  # it puts the texts of several into one

    def __init__(self, key, model):
        from langchain_openai import ChatOpenAI

        self.llm = ChatOpenAI(
            base_url=os.environ["TROUPE_URL"] + "/v1", api_key=key, max_retries=0, stream_usage=True,
            model=model or OpenAI(key, None).model,
        )

    def whole(self, messages, request):
        got = self.llm.generate([messages_of(messages)], **request)
        usage = got.llm_output["token_usage"]
        return {
            "choices": [self.choice(g.message) for g in got.generations[0]],
            "usage": [usage["prompt_tokens"], usage["completion_tokens"]],
        }

    def stream(self, messages, request):
        sum, chunks = None, 0
        for chunk in self.llm.stream(messages_of(messages), **request):
            sum, chunks = chunk if sum is None else sum + chunk, chunks + 1
        usage = sum.usage_metadata
        return {"choices": [self.choice(sum)], "usage": [usage["input_tokens"], usage["output_tokens"]]}, chunks

    @staticmethod
    def choice(message):
        meta = message.response_metadata
        return {
            "content": message.content,
            "finish": meta["finish_reason"],
            "calls": [[c["name"], c["args"]] for c in message.tool_calls],
            "logprobs": [
                [t["token"], t["logprob"], [[o["token"], o["logprob"]] for o in t["top_logprobs"]]]
                for t in (meta.get("logprobs") or {}).get("content") or []
            ],
        }


def messages_of(messages):
    from langchain_core.messages import convert_to_messages

    return convert_to_messages(messages)


def has_types(value, want):
    return isinstance(value, dict) and (not want or set(value) == set(want)) and all(
        isinstance(value[k], TYPES[t]) for k, t in want.items()
    )


def faults(got, want, request):
    """What is wrong with an answer."""
    if len(got["choices"]) != want.get("choices", 1):
        yield "%d choices" % len(got["choices"])
    if got["usage"][0] < 1 or got["usage"][1] < 1:
        yield "usage %s" % got["usage"]
    if "tokens" in want and got["usage"][1] != want["tokens"]:
        yield "%d tokens, want %d" % (got["usage"][1], want["tokens"])
    for c in got["choices"]:
        if c["finish"] not in want["finish"]:
            yield "it finished with %r" % c["finish"]
        if "matches" in want and not re.search(want["matches"], c["content"]):
            yield "it does not match %r" % want["matches"]
        if "json" in want and not has_types(json.loads(c["content"]), want["json"]):
            yield "the members are others than %s" % want["json"]
        if bool(c["calls"]) != ("call" in want):
            yield "it calls %s" % c["calls"]
        for name, arguments in c["calls"] if "call" in want else []:
            if name != want["call"]["name"] or not has_types(arguments, want["call"]["arguments"]):
                yield "it calls %s with %s" % (name, arguments)
        if bool(c["logprobs"]) != ("logprobs" in want):
            yield "log-probabilities of %d tokens" % len(c["logprobs"])
        for token, logprob, top in c["logprobs"]:
            if logprob > 0 or len(top) != want["logprobs"] or top[0][0] != token or top[1][1] > top[0][1]:
                yield "log-probability of %r: %s, %s" % (token, logprob, top)


def refused(ask, want):
    """What is wrong with a refusal."""
    try:
        ask()
    except openai.APIStatusError as e:
        body = e.body or {}
        got = {"status": e.status_code, "param": body.get("param"), "code": body.get("code"), "type": body.get("type")}
        for key, value in want.items():
            if got[key] != value:
                yield "%s is %r, want %r" % (key, got[key], value)
        if not body.get("message"):
            yield "no message in %s" % body
    else:
        yield "it was not refused"


def converse(client, case, defaults):
    request = {**defaults, **case.get("request", {})}
    messages = case["messages"]
    if "repeat" in case:
        messages = [{**messages[0], "content": messages[0]["content"] * case["repeat"]}]
    want = case["want"]
    if "error" in want:
        yield from refused(lambda: client.whole(messages, request), want["error"])
        yield from refused(lambda: client.stream(messages, request), want["error"])
        return
    for text in case.get("then", []):
        said = client.whole(messages, request)["choices"][0]["content"]
        messages = [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": text}]
    whole = client.whole(messages, request)
    yield from faults(whole, want, request)
    if want.get("choices", 1) > 1 and not client.streams_choices:
        return
    streamed, chunks = client.stream(messages, request)
    if "call" in want:  # which ends a reply: a token more may have been on its way
        streamed["usage"] = whole["usage"]
    if streamed != whole:
        yield "streamed %s\n    whole    %s" % (streamed, whole)
    if chunks < 3:
        yield "only %d chunks" % chunks


def main():
    suite = json.loads(pathlib.Path(__file__).with_name("suite.json").read_text())
    make = {"openai": OpenAI, "langchain": LangChain}[sys.argv[1]]
    client = make(os.environ["API_KEY"], None)
    failed = 0
    for case in suite["cases"]:
        by = client
        if "key" in case:
            by = make(case["key"], "builtin")
        found = list(converse(by, case, suite["defaults"]))
        failed += bool(found)
        for fault in found:
            print("%s: %s" % (case["name"], fault))
    print("%s: %d of %d conversations went well" % (sys.argv[1], len(suite["cases"]) - failed, len(suite["cases"])))
    sys.exit(bool(failed))


main()
