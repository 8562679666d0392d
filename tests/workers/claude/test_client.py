"""The Claude edge against the simulator over HTTP: answers, faults, and nothing secret in either."""

from __future__ import annotations

import asyncio
import pickle
import socket
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from pydantic import SecretStr

from config.settings import Settings
from scripts.simulator.process import SimulatorProcess
from scripts.stack.valkey import free_port
from tasks.model import fault as faults
from tasks.model.call import Prompt
from tasks.model.fault import Fault
from tasks.rules.prompting import write_prompt
from tests.values import SORT, SUMMARIZE, a_document, a_route
from workers.claude import ClaudeClient
from workers.claude.client import Observe

KEY = "sk-planted-key"
SECRET = "PLANTED-TEXT"


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=7) as running:
        yield running


def client_of(
    url: str,
    *,
    silence_s: float = 30,
    connect_s: float = 10,
    key: str = KEY,
    connections: int = 50,
    observe: Observe | None = None,
) -> ClaudeClient:
    settings = Settings(silence_timeout_s=silence_s, connect_timeout_s=connect_s)
    return ClaudeClient(settings, base_url=url, api_key=SecretStr(key), connections=connections, observe=observe)


@pytest.fixture
async def claude(simulator: SimulatorProcess) -> AsyncIterator[ClaudeClient]:
    async with client_of(simulator.url, silence_s=1) as client:
        yield client


def prompt_of(text: str) -> Prompt:
    return write_prompt(a_document(f"{SECRET} {text}"), SUMMARIZE, {})


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_carries_what_was_billed(
    claude: ClaudeClient, simulator: SimulatorProcess, stream: bool
) -> None:
    answer = await claude.ask(prompt_of(f"a letter {stream}"), a_route(stream=stream))
    (row,) = [row for row in simulator.rows() if row["request_id"] == answer.request_id]
    assert answer.text
    assert answer.stop_reason == "end_turn"
    assert answer.synthetic
    assert (answer.usage.input, answer.usage.output) == (row["usage"]["input_tokens"], row["usage"]["output_tokens"])
    assert 0 <= answer.first_byte_ms <= answer.total_ms


@pytest.mark.parametrize("stream", [False, True])
async def test_inference_kept_in_the_us_is_told(
    claude: ClaudeClient, simulator: SimulatorProcess, stream: bool
) -> None:
    route = a_route(model="claude-sonnet-4-6", stream=stream)
    assert not (await claude.ask(prompt_of("anywhere"), route)).us_only
    simulator.configure(defaults={"inference_geo": "us"})
    try:
        assert (await claude.ask(prompt_of("at home"), route)).us_only
    finally:
        simulator.configure(defaults={})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_schema_is_kept(claude: ClaudeClient, stream: bool) -> None:
    prompt = write_prompt(a_document("a letter"), SORT, {})
    answer = await claude.ask(prompt, a_route(stream=stream))
    assert answer.text.startswith("{")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("marker", "kind", "retry_after_s"),
    [
        ("429:7", faults.RateLimited, 7.0),
        ("429_bare", faults.RateLimited, None),
        ("ramp:9", faults.RateLimited, 9.0),
        ("spend_cap", faults.SpendCap, None),
        ("contract_cap", faults.SpendCap, None),
        ("usage_limit", faults.SpendCap, None),
        ("credit", faults.BillingStopped, None),
        ("402", faults.BillingStopped, None),
        ("on_hold", faults.Unauthorized, None),
        ("401", faults.Unauthorized, None),
        ("403", faults.Unauthorized, None),
        ("404", faults.UnknownModel, None),
        ("413", faults.TooLong, None),
        ("too_long", faults.TooLong, None),
        ("bad_pdf", faults.PdfFailed, None),
        ("400", faults.Rejected, None),
        ("500", faults.ServerFailed, None),
        ("502", faults.ServerFailed, None),
        ("503", faults.Overloaded, None),
        ("504", faults.ServerFailed, None),
        ("529", faults.Overloaded, None),
        ("error_event", faults.Overloaded, None),
        ("cut", faults.Interrupted, None),
        ("silent_end", faults.Interrupted, None),
        ("html200", faults.Interrupted, None),
        ("badjson", faults.Interrupted, None),
        ("hang", faults.TimedOut, None),
    ],
)
async def test_every_failure_is_one_of_our_faults(
    claude: ClaudeClient, marker: str, kind: type[Fault], retry_after_s: float | None, stream: bool
) -> None:
    with pytest.raises(Fault) as caught:
        await claude.ask(prompt_of(f"{{{{sim:{marker}}}}}"), a_route(stream=stream))
    assert type(caught.value) is kind
    if retry_after_s is not None:
        assert caught.value.retry_after_s == retry_after_s
    assert_nothing_secret(caught.value)


def assert_nothing_secret(fault: Fault) -> None:
    """Neither the key nor the document is in the fault, its pickle, its traceback's text or behind it."""
    assert fault.__cause__ is None
    assert fault.__context__ is None
    seen = repr(fault) + repr(pickle.dumps(fault)) + "".join(traceback.format_exception(fault)) + repr(vars(fault))
    assert KEY not in seen
    assert SECRET not in seen


async def test_a_refusal_and_a_cut_answer_are_paid_for(claude: ClaudeClient) -> None:
    refused = await claude.ask(prompt_of("{{sim:refusal}}"), a_route())
    assert refused.stop_reason == "refusal"
    truncated = await claude.ask(prompt_of("{{sim:truncated}}"), a_route(stream=True))
    assert truncated.stop_reason == "max_tokens"
    assert min(refused.usage.input, truncated.usage.output) > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_the_deadline_is_wall_clock_also_where_bytes_trickle(claude: ClaudeClient, stream: bool) -> None:
    started = time.monotonic()
    with pytest.raises(faults.TimedOut, match="within 1 s"):
        await claude.ask(prompt_of("{{sim:trickle}}"), a_route(stream=stream, deadline_s=1.2))
    assert time.monotonic() - started < 20  # a byte each 0.1 s would take longer


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_came_while_the_process_was_stopped_is_not_given_up(
    simulator: SimulatorProcess, stream: bool
) -> None:
    async with client_of(simulator.url, silence_s=2) as claude:
        call = asyncio.create_task(claude.ask(prompt_of("{{sim:latency:1}}"), a_route(stream=stream, deadline_s=2)))
        await asyncio.sleep(0.5)  # the request is out
        time.sleep(4)  # noqa: ASYNC251 - as a stopped process: neither timers nor sockets have a turn
        assert (await call).stop_reason == "end_turn"


async def test_silence_ends_a_stream_and_pieces_do_not(simulator: SimulatorProcess) -> None:
    async with client_of(simulator.url, silence_s=1) as claude:
        with pytest.raises(faults.TimedOut):
            await claude.ask(prompt_of("{{sim:latency:20}}"), a_route(stream=True))
        simulator.configure(tokens_per_s=100)
        try:
            answer = await claude.ask(prompt_of("{{sim:tokens:250}}"), a_route(stream=True))
        finally:
            simulator.configure(tokens_per_s=None)
    assert answer.total_ms > 2_000


async def test_a_bad_key_is_unauthorized(simulator: SimulatorProcess) -> None:
    async with client_of(simulator.url, key="bad-key") as claude:
        with pytest.raises(faults.Unauthorized):
            await claude.ask(prompt_of("x"), a_route())


async def test_a_key_is_tried_for_nothing(simulator: SimulatorProcess) -> None:
    before = len(simulator.rows())
    async with client_of(simulator.url) as good, client_of(simulator.url, key="bad-key") as bad:
        await good.probe()
        with pytest.raises(faults.Unauthorized) as caught:
            await bad.probe()
    assert_nothing_secret(caught.value)
    assert len(simulator.rows()) == before


async def test_a_probe_does_not_wait_for_ever() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, client_of(url, silence_s=0.5) as claude, asyncio.timeout(10):
        with pytest.raises(faults.TimedOut):
            await claude.probe()


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("too_long", "over the model's context window (400 invalid_request_error)"),
        ("usage_limit", "the spending limit is reached until 2099-01-01 (400 invalid_request_error)"),
        ("spend_cap", "the spending limit is reached (429 enforced_spend_limit_reached)"),
        ("402", "billing has stopped: no prepaid credit (402 billing_error)"),
        ("502", "Claude failed (502)"),
    ],
)
async def test_a_fault_says_in_words_what_happened(claude: ClaudeClient, marker: str, said: str) -> None:
    with pytest.raises(Fault) as caught:
        await claude.ask(prompt_of(f"{{{{sim:{marker}}}}} words"), a_route())
    assert caught.value.message == said


async def test_a_refused_connection_was_never_sent() -> None:
    async with client_of(f"http://127.0.0.1:{free_port()}") as claude:
        with pytest.raises(faults.Unreachable) as caught:
            await claude.ask(prompt_of("x"), a_route())
    assert not caught.value.possibly_billed


async def test_an_address_that_does_not_answer_was_never_sent() -> None:
    with socket.socket() as full:  # its backlog is full, so that the kernel lets further connections wait
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        async with client_of(f"http://127.0.0.1:{full.getsockname()[1]}", connect_s=1) as claude:
            with pytest.raises(faults.Unreachable):
                await claude.ask(prompt_of("x"), a_route())
        for one in waiting:
            one.close()


async def test_a_connection_lost_after_the_request_may_have_been_billed() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server, client_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as claude:
        with pytest.raises(faults.Interrupted) as caught:
            await claude.ask(prompt_of("x"), a_route())
    assert caught.value.possibly_billed


async def test_a_hundred_calls_at_once_keep_their_answers_apart(simulator: SimulatorProcess) -> None:
    async with client_of(simulator.url, connections=100) as claude:
        answers = await asyncio.gather(
            *(claude.ask(prompt_of(f"{{{{sim:tokens:{n}}}}}"), a_route(stream=n % 2 == 0)) for n in range(20, 120))
        )
    assert [answer.usage.output for answer in answers] == list(range(20, 120))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("marker", [None, "429:7", "529", "400", "error_event", "cut", "html200"])
async def test_every_response_to_a_message_is_observed_once(
    simulator: SimulatorProcess, marker: str | None, stream: bool
) -> None:
    observed: list[tuple[str, str | None]] = []
    route = a_route(stream=stream)
    async with client_of(
        simulator.url, observe=lambda model, headers: observed.append((model, headers.get("Request-ID")))
    ) as claude:
        await claude.probe()
        with suppress(Fault):
            await claude.ask(prompt_of(f"{{{{sim:{marker}}}}}" if marker else "x"), route)
    assert observed == [(route.model, simulator.rows()[-1]["request_id"])] or marker == "html200"
    assert len(observed) == 1


async def test_what_has_no_response_is_not_observed(simulator: SimulatorProcess) -> None:
    observed: list[str] = []
    for url in (f"http://127.0.0.1:{free_port()}", simulator.url):
        async with client_of(url, silence_s=0.3, observe=lambda model, _: observed.append(model)) as claude:
            with pytest.raises(Fault):
                await claude.ask(prompt_of("{{sim:latency:5}}"), a_route())
    assert observed == []
