"""The official Python client against the server."""

import asyncio
import json
import math

import openai
import pytest

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
STORY = [{"role": "user", "content": "Tell me about a"}]
ANSWER = "The capital of France is Paris."
MODEL = "tiny-assistant"


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def async_client(server):
    return lambda: openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def test_models(client):
    (card,) = client.models.list().data
    assert (card.id, card.object, card.owned_by, card.root, card.max_model_len) == (MODEL, "model", "miniinfer", MODEL, 2048)
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


def test_chat(client):
    reply = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    assert reply.object == "chat.completion" and reply.model == MODEL and reply.id.startswith("chatcmpl-")
    (choice,) = reply.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", ANSWER, "stop")
    assert choice.message.tool_calls is None
    usage = reply.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    assert usage.prompt_tokens_details.cached_tokens <= usage.prompt_tokens


def test_content_parts_and_developer_role(client):
    parts = [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": "of France?"}]
    messages = [{"role": "developer", "content": "Answer shortly."}, {"role": "user", "content": parts}]
    reply = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    joined = [{"role": "system", "content": "Answer shortly."}, {"role": "user", "content": "What is the capital\nof France?"}]
    same = client.chat.completions.create(model=MODEL, messages=joined, temperature=0)
    assert reply.choices[0].message.content == same.choices[0].message.content
    assert reply.usage.prompt_tokens == same.usage.prompt_tokens


def test_stream(client):
    chunks = list(client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1 and len(chunks) > 5
    assert all(chunk.usage is None for chunk in chunks)


def test_stream_with_usage(client):
    chunks = list(client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, stream=True,
                                                 stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and all(chunk.usage is None for chunk in chunks[:-1])
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_stream_with_usage_in_every_chunk(client, server):
    """As vLLM has it: of each choice by itself, and of all at the end."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = list(client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, stream=True, n=2, max_tokens=5,
                                                 stream_options=options))
    for index in (0, 1):
        usages = [chunk.usage for chunk in chunks[:-1] if chunk.choices[0].index == index]
        assert [usage.completion_tokens for usage in usages] == [0, 1, 2, 3, 4, 5]
        assert all(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens for usage in usages)
    assert chunks[-1].usage.completion_tokens == 10 and chunks[-1].usage.prompt_tokens == usages[0].prompt_tokens
    events = server.post("/v1/completions", {"prompt": "Hi", "max_tokens": 3, "stream": True, "ignore_eos": True,
                                             "stream_options": options}).events
    assert [event["usage"]["completion_tokens"] for event in events[:-1]] == [1, 2, 3, 3]


def test_stream_helper(client):
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, temperature=0) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.content == ANSWER


def test_async_streams_beside_each_other(async_client):
    async def one(client, seed):
        stream = await client.chat.completions.create(model=MODEL, messages=STORY, seed=seed, temperature=1.8, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def run():
        async with async_client() as client:
            together = await asyncio.gather(*(one(client, seed) for seed in range(40)))
            alone = [await one(client, seed) for seed in range(0, 40, 8)]
            return together, alone

    together, alone = asyncio.run(run())
    assert together[::8] == alone, "an answer depends on what ran beside it"
    assert len(set(together)) > 1


def test_n_choices(client):
    reply = client.chat.completions.create(model=MODEL, messages=QUESTION, n=4, seed=3, temperature=1.5)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    texts = {}
    for chunk in client.chat.completions.create(model=MODEL, messages=QUESTION, n=4, seed=3, temperature=1.5, stream=True):
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    assert [texts[i] for i in range(4)] == [choice.message.content for choice in reply.choices]


def test_chat_logprobs(client):
    fields = dict(model=MODEL, messages=QUESTION, temperature=0, logprobs=True, top_logprobs=3)
    reply = client.chat.completions.create(**fields)
    content = reply.choices[0].logprobs.content
    assert len(content) == reply.usage.completion_tokens
    assert "".join(entry.token for entry in content).startswith(ANSWER)
    for entry in content:
        assert len(entry.top_logprobs) == 3 and bytes(entry.bytes).decode() == entry.token
        assert entry.top_logprobs[0].token == entry.token, "greedy takes the likeliest"
        assert entry.logprob <= 0 and math.isclose(entry.logprob, entry.top_logprobs[0].logprob)
    streamed = [entry for chunk in client.chat.completions.create(**fields, stream=True) if chunk.choices[0].logprobs
                for entry in chunk.choices[0].logprobs.content]
    assert streamed == content


def test_stop_strings_never_leak(client):
    for stop in ["capital", "ital of", " Paris", "e cap"]:
        fields = dict(model=MODEL, messages=QUESTION, temperature=0, stop=[stop, "zzz"])
        reply = client.chat.completions.create(**fields)
        assert reply.choices[0].message.content == ANSWER[: ANSWER.index(stop)]
        assert (reply.choices[0].finish_reason, reply.choices[0].stop_reason) == ("stop", stop)
        pieces = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**fields, stream=True)]
        assert "".join(pieces) == ANSWER[: ANSWER.index(stop)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_token_is_named_by_its_number(client, stream):
    fields = dict(model=MODEL, messages=QUESTION, temperature=0)
    ids = client.chat.completions.create(**fields, extra_body={"return_token_ids": True}).choices[0].token_ids
    reply = client.chat.completions.create(**fields, extra_body={"stop_token_ids": [ids[2]]}, stream=stream)
    assert (list(reply)[-1] if stream else reply).choices[0].stop_reason == ids[2]


def test_max_tokens(client):
    for name in ("max_tokens", "max_completion_tokens"):
        reply = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, **{name: 3})
        assert (reply.usage.completion_tokens, reply.choices[0].finish_reason) == (3, "length")


def test_extra_fields(client):
    body = {"top_k": 1, "min_p": 0.1, "repetition_penalty": 1.1, "ignore_eos": True, "min_tokens": 12, "skip_special_tokens": False,
            "include_stop_str_in_output": True, "stop_token_ids": [5], "cache_salt": "mine", "priority": 2, "return_token_ids": True,
            "chat_template_kwargs": {"nothing": 1}}
    reply = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=12, extra_body=body)
    assert reply.usage.completion_tokens == 12 == len(reply.choices[0].token_ids)
    assert len(reply.prompt_token_ids) == reply.usage.prompt_tokens
    assert reply.usage.prompt_tokens_details.cached_tokens == 0, "another salt's cache was used"


def test_completions(client, server):
    text = client.completions.create(model=MODEL, prompt="The capital of", max_tokens=6, temperature=0)
    assert text.object == "text_completion" and text.usage.completion_tokens <= 6
    ids = server.post("/tokenize", {"prompt": "The capital of"}).json["tokens"]
    several = client.completions.create(model=MODEL, prompt=[ids, ids], max_tokens=6, temperature=0, n=2)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert {choice.text for choice in several.choices} == {text.choices[0].text}
    assert several.usage.prompt_tokens == 2 * text.usage.prompt_tokens
    plain = client.completions.create(model=MODEL, prompt=ids, max_tokens=6, temperature=0)
    assert plain.choices[0].text == text.choices[0].text
    pieces = client.completions.create(model=MODEL, prompt="The capital of", max_tokens=6, temperature=0, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == text.choices[0].text


def test_echo_and_logprobs(client):
    prompt = "The capital of France"
    reply = client.completions.create(model=MODEL, prompt=prompt, echo=True, logprobs=2, max_tokens=4, temperature=0)
    (choice,) = reply.choices
    assert choice.text.startswith(prompt)
    logprobs = choice.logprobs
    assert len(logprobs.tokens) == reply.usage.total_tokens
    assert logprobs.token_logprobs[0] is None and all(value <= 0 for value in logprobs.token_logprobs[1:])
    assert "".join(logprobs.tokens).startswith(prompt)
    for token, offset in zip(logprobs.tokens[:-1], logprobs.text_offset):
        assert choice.text[offset: offset + len(token)] == token
    streamed = list(client.completions.create(model=MODEL, prompt=prompt, echo=True, logprobs=2, max_tokens=4, temperature=0,
                                              stream=True))
    assert "".join(chunk.choices[0].text for chunk in streamed) == choice.text
    tokens = [token for chunk in streamed for token in chunk.choices[0].logprobs.tokens]
    offsets = [offset for chunk in streamed for offset in chunk.choices[0].logprobs.text_offset]
    assert (tokens, offsets) == (logprobs.tokens, logprobs.text_offset)


@pytest.mark.parametrize("fields, error, param", [
    (dict(model="gpt-4"), openai.NotFoundError, "model"),
    (dict(temperature=-1), openai.BadRequestError, "temperature"),
    (dict(max_tokens=10**6), openai.BadRequestError, "max_tokens"),
    (dict(extra_body={"suffix": "x"}), openai.BadRequestError, "suffix"),
])
def test_errors_are_the_clients_exceptions(client, fields, error, param):
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{"model": MODEL, "messages": QUESTION, **fields})
    assert caught.value.param == param and caught.value.message and caught.value.request_id


def test_wrong_key_is_an_authentication_error(start):
    server = start("--api-key", "right")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=server.url + "/v1", api_key="wrong").models.list()
    assert openai.OpenAI(base_url=server.url + "/v1", api_key="right").models.list().data


def test_detokenize_is_the_way_back(server):
    text = "Zoë eats 3 crêpes 🥞.\n"
    tokens = server.post("/tokenize", {"prompt": text, "return_token_strs": True}).json
    assert tokens["count"] == len(tokens["tokens"]) == len(tokens["token_strs"])
    assert server.post("/detokenize", {"tokens": tokens["tokens"]}).json == {"prompt": text}
    chat = server.post("/tokenize", {"messages": QUESTION}).json
    assert "capital of France" in server.post("/detokenize", {"tokens": chat["tokens"]}).json["prompt"]


def test_every_line_of_a_stream_is_whole(server):
    """Characters of several tokens, and the separators that some readers break lines at."""
    reply = server.chat("Repeat: 🥞é\u2028x", temperature=2.0, max_tokens=200, ignore_eos=True, seed=1, stream=True)
    assert reply.events[-1] == "[DONE]"
    assert len(reply.text.splitlines()) == 2 * len(reply.events)
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in reply.events[:-1])
    same = server.chat("Repeat: 🥞é\u2028x", temperature=2.0, max_tokens=200, ignore_eos=True, seed=1).json
    assert text == same["choices"][0]["message"]["content"]
    json.dumps(text).encode()
