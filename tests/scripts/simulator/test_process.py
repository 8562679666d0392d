"""The simulator as a process: started, asked, reconfigured and stopped as a system test or a person would."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import anthropic
import pytest
from anthropic import AsyncAnthropic

from scripts.bench import simulator as bench
from scripts.simulator.command import main
from scripts.simulator.process import SimulatorProcess
from scripts.simulator.server import Simulator
from tests.scripts.simulator.bodies import HAIKU, body, until


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=5, limits={HAIKU: {"rpm": 100_000}}) as process:
        yield process


def ask(process: SimulatorProcess, *texts: str) -> list[anthropic.types.Message | BaseException]:
    async def asked() -> list[anthropic.types.Message | BaseException]:
        async with AsyncAnthropic(api_key="any", base_url=process.url, max_retries=0) as client:
            calls = (client.messages.create(**body(text)) for text in texts)
            return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(asked())


def test_rows_and_totals_agree(process: SimulatorProcess) -> None:
    process.reset()
    ask(process, *(f"Document {number} {{{{sim:doc:d{number}}}}}" for number in range(20)), "{{sim:529}}")
    rows, bill = process.rows(), process.bill()
    assert bill["requests"] == rows
    assert bill["totals"]["nanousd"] == sum(row["nanousd"] for row in rows) > 0
    assert (bill["totals"]["charged"], bill["totals"]["in_flight"]) == (20, 0)
    assert {row["document"] for row in rows} == {"", *(f"d{number}" for number in range(20))}
    assert "requests" not in process.bill(totals_only=True)


def test_settings_change_while_it_runs(process: SimulatorProcess) -> None:
    assert process.configure(faults={"500": 1})["faults"] == {"500": 1}
    assert isinstance(ask(process, "Flour.")[0], anthropic.InternalServerError)
    process.configure(faults={})
    assert isinstance(ask(process, "Flour.")[0], anthropic.types.Message)
    with pytest.raises(ValueError, match="latency 'soon'"):
        process.configure(latency="soon")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_at_once_and_cleanly_though_an_answer_hangs(how: signal.Signals) -> None:
    process = SimulatorProcess()
    process.start()

    async def stopped() -> int | None:
        async with AsyncAnthropic(api_key="any", base_url=process.url, max_retries=0) as client:
            hanging = asyncio.create_task(client.messages.create(**body("{{sim:hang}}")))
            await until(lambda: process.bill(totals_only=True)["totals"]["in_flight"])
            code = await asyncio.to_thread(process.stop, how, wait_s=5)
            with pytest.raises(anthropic.APIConnectionError):
                await hanging
            return code

    assert asyncio.run(stopped()) == 0


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--latency", "soon"], "latency 'soon'"),
        (["--faults", "2"], "at most 1"),
        (["--fault", "529"], "KIND=RATE"),
        (["--fault", "five=0.1"], "unknown fault"),
        (["--rpm", "0"], "rpm"),
    ],
)
def test_a_wrong_option_is_one_line(argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "0", *argv]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_a_taken_port_is_named(process: SimulatorProcess, capsys: pytest.CaptureFixture[str]) -> None:
    port = process.url.rpartition(":")[2]
    assert main(["--port", port]) == 1
    assert port in capsys.readouterr().err


def test_an_address_of_another_machine_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "203.0.113.1", "--port", "0"]) == 1
    assert "203.0.113.1" in capsys.readouterr().err


async def test_it_listens_where_it_is_told() -> None:
    async with Simulator(host="127.0.0.2") as simulator:
        assert simulator.url.startswith("http://127.0.0.2:")
        port = int(simulator.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.2", port)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


def test_the_bench_measures_every_shape(process: SimulatorProcess) -> None:
    for shape in bench.SHAPES.values():
        assert bench.measure(process, shape, 200).per_cpu_s > 0
