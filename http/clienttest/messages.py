"""Has conversations by Anthropic's official client with the server of clients_test.go.

BASE_URL=http://… ANTHROPIC_API_KEY=… python messages.py
"""

import os

import anthropic

client = anthropic.Anthropic(base_url=os.environ["BASE_URL"], max_retries=0)
request = {"model": "fake", "max_tokens": 100}
tools = [
    {
        "name": "weather",
        "description": "Tells the weather.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "array"}}, "required": ["city"]},
    }
]


def whole(**more):
    return client.messages.create(**request, **more)


def streamed(**more):
    seen = []
    with client.messages.stream(**request, **more) as stream:
        for event in stream:
            seen.append(event.type)
        message = stream.get_final_message()
    assert seen[0] == "message_start" and seen[-1] == "message_stop", seen
    assert seen.count("content_block_start") == seen.count("content_block_stop") == len(message.content), seen
    return message


def user(text):
    return [{"role": "user", "content": text}]


def check(got, want):
    assert got == want, f"got {got}, want {want}"


def usage(message):
    u = message.usage
    return [u.input_tokens, u.cache_read_input_tokens, u.output_tokens]


for ask in (whole, streamed):
    message = ask(system=[{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}], messages=user("Hello"))
    check([b.type for b in message.content], ["thinking", "text"])
    check([message.content[0].thinking, message.content[1].text], ["A greeting.", 'Hello, "you"!'])
    check([message.role, message.stop_reason, message.stop_sequence, usage(message)], ["assistant", "end_turn", None, [4, 16, 10]])
    assert message.id.startswith("msg_") and message.content[0].signature, message

    message = ask(messages=user("Please count"), stop_sequences=["four"])
    check([message.content[0].text, message.stop_reason, message.stop_sequence], ["one two three ", "stop_sequence", "four"])

assert whole(messages=user("Hello"))._request_id
assert client.messages.count_tokens(model="fake", messages=user("Hello"), tools=tools).input_tokens > 5


def refused(kind, status, says, call):
    try:
        call()
    except anthropic.APIStatusError as e:
        assert isinstance(e, kind) and e.status_code == status and says in e.message, repr(e)
        return
    raise AssertionError(f"{says}: nothing is refused")


image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}}
wrong = anthropic.Anthropic(base_url=os.environ["BASE_URL"], api_key="wrong", max_retries=0)
refused(anthropic.AuthenticationError, 401, "valid API key", lambda: wrong.messages.create(**request, messages=user("Hello")))
refused(anthropic.NotFoundError, 404, "not served here", lambda: client.messages.create(model="claude", max_tokens=1, messages=user("Hello")))
refused(anthropic.BadRequestError, 400, '"image" is not supported', lambda: whole(messages=[{"role": "user", "content": [image]}]))
refused(anthropic.BadRequestError, 400, "temperature", lambda: whole(messages=user("Hello"), extra_body={"temperature": 9}))
refused(anthropic.InternalServerError, 503, "device failed", lambda: whole(messages=user("Please fail")))
refused(anthropic.APIStatusError, 200, "device failed", lambda: streamed(messages=user("Please fail")))
