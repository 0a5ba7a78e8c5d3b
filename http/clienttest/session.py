"""Has official clients hold a session with each model of clients_test.go.

    SESSIONS=[{"Name": …, "URL": …, …}] OPENAI_API_KEY=… ANTHROPIC_API_KEY=… python session.py

A tool is called and its result used, by OpenAI's chat and responses and by
Anthropic's messages: whole, streamed, and by what the clients have to put streams
together. All that comes is held against the clients' types: nothing they require
may be missing, and nothing be there that they do not know.
"""

import json
import os
import sys

import anthropic
import openai
import pydantic

# What is sent beside what the clients know: of chats, of responses, and of models.
BESIDE = {"reasoning", "reasoning_content", "stop_reason", "store", "name"}
BESIDE |= {"object", "created", "owned_by", "root", "max_model_len", "vocab_size"}
BESIDE |= {"type", "lifecycle", "display_name", "created_at", "max_input_tokens"}
HTTP = {"max_retries": 0, "http_client": openai.DefaultHttpxClient()}  # one for all: each takes a while to make
NOTE = "in \"°C\" & <b>, 'please'"
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "array", "items": {"type": "integer"}},
        "note": {"type": "string"},
    },
    "required": ["city", "days", "note"],
}
WEATHER = {"name": "weather", "description": "Tells the weather."}


def check(got, want):
    assert got == want, f"got  {got}\nwant {want}"


def strict(value):
    """The value, which is just what its type says."""
    sent = value.model_dump(mode="json", exclude_unset=True, by_alias=True, warnings=False)
    try:
        type(value).model_validate_json(json.dumps(sent), strict=True)
    except pydantic.ValidationError as e:
        raise AssertionError(f"{type(value).__name__} {json.dumps(sent)}: {e}") from None
    known(value, type(value).__name__)
    return value


def known(value, at):
    if isinstance(value, list):
        for v in value:
            known(v, at + "[]")
    if isinstance(value, pydantic.BaseModel):
        beside = set(value.model_extra or {}) - BESIDE
        assert not beside, f"{at} has {beside}"
        for name in value.model_fields_set:
            known(getattr(value, name), at + "." + name)


class Chat:
    def __init__(self, server):
        self.client = openai.OpenAI(base_url=server["URL"] + "/v1", **HTTP)
        self.request = {"model": server["Name"], "tools": [{"type": "function", "function": {**WEATHER, "parameters": SCHEMA}}]}
        self.messages = [{"role": "system", "content": "Be kind."}]

    def say(self, text):
        self.messages.append({"role": "user", "content": text})

    def bring(self, calls, results):
        for (id, *_), result in zip(calls, results):
            self.messages.append({"role": "tool", "tool_call_id": id, "content": result})

    def ask(self, how):
        request = {**self.request, "messages": self.messages}
        if how == "whole":
            done = strict(self.client.chat.completions.create(**request))
        elif how == "helped":
            with self.client.chat.completions.stream(**request) as stream:
                for _ in stream:
                    pass
                done = stream.get_final_completion()
        else:
            return self.put_together(self.client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **request))
        message = done.choices[0].message
        self.messages.append(message)
        calls = [(c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or []]
        check(done.choices[0].finish_reason, "tool_calls" if calls else "stop")
        return getattr(message, "reasoning_content", ""), message.content or "", calls

    def put_together(self, chunks):
        thought, text, calls, finish, usage = "", "", [], None, None
        for chunk in map(strict, chunks):
            usage = chunk.usage or usage
            for c in chunk.choices:
                thought += getattr(c.delta, "reasoning_content", None) or ""
                text += c.delta.content or ""
                finish = c.finish_reason or finish
                for call in c.delta.tool_calls or []:
                    if call.index == len(calls):
                        calls.append([call.id, call.function.name, ""])
                    calls[call.index][2] += call.function.arguments or ""
        check([finish, usage.total_tokens], ["tool_calls" if calls else "stop", 30])
        said = [{"id": id, "type": "function", "function": {"name": name, "arguments": a}} for id, name, a in calls]
        self.messages.append({"role": "assistant", "content": text or None, **({"tool_calls": said} if said else {})})
        return thought, text, [(id, name, json.loads(a)) for id, name, a in calls]


class Responses:
    def __init__(self, server):
        self.client = openai.OpenAI(base_url=server["URL"] + "/v1", **HTTP)
        self.request = {
            "model": server["Name"], "instructions": "Be kind.", "store": False, "include": ["reasoning.encrypted_content"],
            "tools": [{"type": "function", **WEATHER, "parameters": SCHEMA, "strict": False}],
        }
        self.items = []

    def say(self, text):
        self.items.append({"role": "user", "content": text})

    def bring(self, calls, results):
        for (id, *_), result in zip(calls, results):
            self.items.append({"type": "function_call_output", "call_id": id, "output": result})

    def ask(self, how):
        request = {**self.request, "input": self.items}
        if how == "whole":
            done = strict(self.client.responses.create(**request))
        elif how == "helped":
            with self.client.responses.stream(**request) as stream:
                for _ in stream:
                    pass
                done = stream.get_final_response()
        else:
            done = self.last(self.client.responses.create(stream=True, **request))
        check([done.status, done.error, done.usage.total_tokens], ["completed", None, 30])
        self.items += [item.model_dump(exclude_unset=True) for item in done.output]
        thought = "".join(p.text for item in done.output if item.type == "reasoning" for p in item.content)
        calls = [(i.call_id, i.name, json.loads(i.arguments)) for i in done.output if i.type == "function_call"]
        return thought, done.output_text, calls

    def last(self, events):
        deltas = {}
        for n, event in enumerate(map(strict, events)):
            check(event.sequence_number, n)
            if event.type.endswith(".delta"):
                deltas[event.item_id] = deltas.get(event.item_id, "") + event.delta
        check(event.type, "response.completed")
        for item in event.response.output:
            check(deltas[item.id], item.arguments if item.type == "function_call" else item.content[0].text)
        return event.response


class Messages:
    def __init__(self, server):
        self.client = anthropic.Anthropic(base_url=server["URL"], **HTTP)
        self.request = {"model": server["Name"], "max_tokens": 2000, "system": "Be kind.", "tools": [{**WEATHER, "input_schema": SCHEMA}]}
        self.messages = []

    def say(self, text):
        self.messages.append({"role": "user", "content": text})

    def bring(self, calls, results):
        blocks = [{"type": "tool_result", "tool_use_id": id, "content": r} for (id, *_), r in zip(calls, results)]
        self.messages.append({"role": "user", "content": blocks})

    def ask(self, how):
        request = {**self.request, "messages": self.messages}
        if how == "whole":
            done = strict(self.client.messages.create(**request))
        elif how == "helped":
            with self.client.messages.stream(**request) as stream:
                done = stream.get_final_message()
        else:
            events = [strict(e) for e in self.client.messages.create(stream=True, **request)]
            return self.put_together(events)
        self.messages.append({"role": "assistant", "content": done.content})
        calls = [(b.id, b.name, b.input) for b in done.content if b.type == "tool_use"]
        check(done.stop_reason, "tool_use" if calls else "end_turn")
        return [b.thinking for b in done.content if b.type == "thinking"], [b.text for b in done.content if b.type == "text"], calls

    def put_together(self, events):
        blocks = []
        for e in events:
            if e.type == "content_block_start":
                blocks.append({**e.content_block.model_dump(exclude_unset=True)})
            elif e.type == "content_block_delta":
                (name, more), = [(k, v) for k, v in e.delta.model_dump(exclude_unset=True).items() if k != "type"]
                if name == "partial_json":
                    blocks[e.index]["partial"] = blocks[e.index].get("partial", "") + more
                else:
                    blocks[e.index][name] += more
        for b in blocks:
            if b["type"] == "tool_use":
                b["input"] = json.loads(b.pop("partial"))
        self.messages.append({"role": "assistant", "content": blocks})
        calls = [(b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]
        check([e.delta.stop_reason for e in events if e.type == "message_delta"], ["tool_use" if calls else "end_turn"])
        return [b["thinking"] for b in blocks if b["type"] == "thinking"], [b["text"] for b in blocks if b["type"] == "text"], calls


def session(by, server, how):
    def ask(thought, text, cities):
        got = by.ask(how)
        if not isinstance(got[0], list):  # no blocks
            got = [x for x in got[:1] if x], [x for x in got[1:2] if x], got[2]
        check(got[0], [thought] if server["Thinks"] else [])
        check(got[1], [] if cities and server["Alone"] else [text])
        check([c[1:] for c in got[2]], [("weather", {"city": city, "days": [1, 2], "note": NOTE}) for city in cities])
        return got[2]

    by.say("How is the weather in Oslo?")
    by.bring(ask("I must look.", "Let me see.", ["Oslo"]), ["21 degrees"])
    ask("Good.", "It is 21 degrees there.", [])
    if not server["Single"]:
        by.say("And the weather in Rome and Bergen?")
        by.bring(ask("Both.", "Two.", ["Rome", "Bergen"]), ["30 degrees", "12 degrees"])
        ask("Good.", "It is 30 degrees and 12 degrees there.", [])
    by.say("Thank you!")
    ask("A greeting.", 'Hello, "you"!', [])


def kept(server):
    """What can be asked for: models, and a response that is kept."""
    for client in Responses(server).client, Messages(server).client:
        check([strict(m).id for m in client.models.list()], [server["Name"]])
        strict(client.models.retrieve(server["Name"]))
    strict(client.messages.count_tokens(model=server["Name"], messages=[{"role": "user", "content": "Hello"}]))
    responses = Responses(server).client.responses
    first = responses.create(model=server["Name"], input="How is the weather?", tools=Responses(server).request["tools"])
    result = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "21 degrees"}
    second = responses.create(model=server["Name"], previous_response_id=first.id, input=[result])
    check(strict(responses.retrieve(second.id)).output_text, "It is 21 degrees there.")
    types = ["message"] + [item.type for item in first.output] + ["function_call_output"]
    check([strict(item).type for item in responses.input_items.list(second.id, order="asc")], types)


def broken_off(server):
    """Responses that do not go well, whole and streamed."""
    ask = Responses(server).client.responses.create
    cut, fail = ({"model": server["Name"], "input": text} for text in ("Please be cut off", "Please fail"))
    assert strict(ask(**cut)).incomplete_details.reason == "max_output_tokens"
    *_, last = map(strict, ask(stream=True, **cut))
    check([last.type, last.response.output[-1].status], ["response.incomplete", "incomplete"])
    *_, last = map(strict, ask(stream=True, **fail))
    check([last.type, last.response.status, last.response.error.code], ["response.failed", "failed", "server_error"])


held = failed = 0
for server in json.loads(os.environ["SESSIONS"]):
    for kind in Chat, Responses, Messages:
        for how in ("whole", "streamed", "helped") if server["Thinks"] else ("whole", "streamed"):
            held += 1
            try:
                session(kind(server), server, how)
            except Exception as e:
                failed += 1
                print(f"{server['Name']} {kind.__name__} {how}: {type(e).__name__}: {e}")
print(f"{held - failed} of {held} sessions went well")
first = json.loads(os.environ["SESSIONS"])[0]
kept(first)
broken_off(first)
sys.exit(bool(failed))
