from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import Settings
from scripts.stack.embedded import plan
from scripts.stack.errors import StackError
from scripts.stack.services import Parts

WHOLE = Parts(workers=3, beat=True, flower=True)


def settings(home: Path, *, redis_url: str = "", key: str = "") -> Settings:
    return Settings(
        home=home,
        redis_url=SecretStr(redis_url),
        anthropic_api_key=SecretStr(key),
        anthropic_base_url="",
        drain_timeout_s=7,
    )


def test_without_a_broker_and_a_key_the_stack_has_its_own(tmp_path: Path) -> None:
    services, address = plan(settings(tmp_path), WHOLE)
    names = [service.name for service in sorted(services, key=lambda service: service.stop_step)]
    assert names == ["flower", "beat", "worker-1", "worker-2", "worker-3", "simulator", "valkey"]
    assert address.redis_url is not None
    assert address.simulator_url is not None
    assert address.flower_url is not None


def test_a_broker_and_a_key_of_ones_own_are_used(tmp_path: Path) -> None:
    services, address = plan(settings(tmp_path, redis_url="redis://:pw@broker/0", key="sk-planted"), Parts())
    (worker,) = services
    assert worker.environment["DOCMILL_REDIS_URL"] == "redis://:pw@broker/0"
    assert worker.environment["ANTHROPIC_API_KEY"] == "sk-planted"
    assert (address.redis_url, address.simulator_url, address.flower_url) == (None, None, None)


def test_no_secret_is_in_an_argument_or_on_show(tmp_path: Path) -> None:
    services, _ = plan(settings(tmp_path, redis_url="redis://:planted-pw@broker/0", key="sk-planted"), WHOLE)
    for service in services:
        assert "planted" not in " ".join(service.command())
        assert "planted" not in repr(service)


def test_a_worker_has_its_drain_and_some_more_to_stop(tmp_path: Path) -> None:
    services, _ = plan(settings(tmp_path, redis_url="redis://broker/0", key="sk-planted"), Parts())
    assert services[0].grace_s == 7 + 15


def test_options_for_a_simulator_that_does_not_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="--faults is for the simulator, but there is a key"):
        plan(settings(tmp_path, key="sk-planted"), Parts(simulator=("--faults", "0.03")))


def test_a_simulator_elsewhere_is_not_started_again(tmp_path: Path) -> None:
    elsewhere = settings(tmp_path).model_copy(update={"simulator_url": "http://simulator:8765"})
    services, address = plan(elsewhere, Parts())
    assert "simulator" not in {service.name for service in services}
    assert address.simulator_url is None
