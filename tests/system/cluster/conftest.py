"""Where the cluster runs. Setup, clusters and nodes are pytest-celery's; three of its fixtures are replaced.

Each test runs twice: on local processes, and on Docker (skipped by name where no engine answers), with the image that
docker-compose.yml uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from pytest_celery import (
    CeleryTestSetup,
    CeleryTestWorker,
    CeleryWorkerContainer,
    RedisContainer,
    RedisTestBackend,
    RedisTestBroker,
)
from pytest_docker_tools import build, container, fxtr
from pytest_docker_tools.wrappers import container as docker_tools

from tests.system.cluster.processes import ROOT, LocalRedis, LocalWorker
from workers.transport import install

COMMAND = ["celery", "-A", "tests.system.cluster.app", "worker"]
COMMAND += ["--hostname", f"{CeleryWorkerContainer.worker_name()}@%h"]


@pytest.fixture(params=["processes", pytest.param("docker", marks=pytest.mark.docker)])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the nodes are: processes of this machine, or containers."""
    # Inside a container pytest-docker-tools takes container addresses for reachable; we reach published ports only.
    monkeypatch.setattr(docker_tools, "tests_inside_container", lambda: False)
    return str(request.param)


@pytest.fixture
def celery_broker(celery_redis_broker: RedisTestBroker) -> RedisTestBroker:
    """Redis alone: pytest-celery would run every test on RabbitMQ as well."""
    return celery_redis_broker


@pytest.fixture
def celery_backend(celery_redis_backend: RedisTestBackend) -> RedisTestBackend:
    """Redis alone, named here so that `where` is seen when tests are collected."""
    return celery_redis_backend


@pytest.fixture
def default_redis_broker(where: str, request: pytest.FixtureRequest) -> RedisContainer:
    """The broker's node."""
    return request.getfixturevalue(f"broker_on_{where}")


@pytest.fixture
def default_redis_backend(where: str, request: pytest.FixtureRequest) -> RedisContainer:
    """The result backend's node: the product keeps results in its ledger, a test waits for them here."""
    return request.getfixturevalue(f"backend_on_{where}")


@pytest.fixture
def default_worker_container(where: str, request: pytest.FixtureRequest) -> CeleryWorkerContainer:
    """The first worker's node."""
    return request.getfixturevalue(f"worker_on_{where}")


@pytest.fixture
def second_worker(where: str, request: pytest.FixtureRequest, celery_setup_app: Celery) -> CeleryTestWorker:
    """Another worker on the same broker."""
    return CeleryTestWorker(request.getfixturevalue(f"second_worker_on_{where}"), celery_setup_app)


@pytest.fixture
def default_worker_env(celery_worker_cluster_config: dict[str, Any]) -> dict[str, str]:
    """What a worker is told. It opens its ledger and its client to Claude, and these tests ask nothing of either."""
    return {
        "DOCMILL_REDIS_URL": celery_worker_cluster_config["celery_broker_cluster_config"]["urls"][0],
        "CELERY_RESULT_BACKEND": celery_worker_cluster_config["celery_backend_cluster_config"]["urls"][0],
        "DOCMILL_VISIBILITY_TIMEOUT_S": "3",
        "ANTHROPIC_API_KEY": "not-used",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    }


class Setup(CeleryTestSetup):  # type: ignore[misc]  # pytest-celery has no types
    """A client that publishes through our transport, as the product does."""

    @classmethod
    def update_app_config(cls, app: Celery) -> None:
        """Called by pytest-celery on the app of the test's own process."""
        install(app)


@pytest.fixture
def celery_setup_cls() -> type[CeleryTestSetup]:
    """See `Setup`."""
    return Setup


@pytest.fixture
def broker_on_processes(tmp_path: Path) -> Iterator[RedisContainer]:
    """Valkey."""
    with LocalRedis.running(tmp_path) as node:
        yield node


@pytest.fixture
def backend_on_processes(tmp_path: Path) -> Iterator[RedisContainer]:
    """Another Valkey."""
    with LocalRedis.running(tmp_path) as node:
        yield node


@pytest.fixture
def worker_on_processes(default_worker_env: dict[str, str], tmp_path: Path) -> Iterator[CeleryWorkerContainer]:
    """A worker process."""
    with LocalWorker.running(COMMAND, default_worker_env, tmp_path) as node:
        yield node


@pytest.fixture
def second_worker_on_processes(default_worker_env: dict[str, str], tmp_path: Path) -> Iterator[CeleryWorkerContainer]:
    """Another worker process."""
    with LocalWorker.running(COMMAND, default_worker_env, tmp_path) as node:
        yield node


def _docker_redis() -> Any:
    return container(
        image="redis:7.4",
        ports=fxtr("default_redis_broker_ports"),
        network="{default_pytest_celery_network.name}",
        wrapper_class=RedisContainer,
        command=RedisContainer.command(),
    )


def _docker_worker() -> Any:
    return container(
        image="{docmill_image.id}",
        environment=fxtr("default_worker_env"),
        network="{default_pytest_celery_network.name}",
        volumes={str(ROOT / "tests"): {"bind": "/app/tests", "mode": "ro"}},
        wrapper_class=CeleryWorkerContainer,
        command=COMMAND,
    )


docmill_image = build(path=str(ROOT), dockerfile="scripts/image/Dockerfile", tag="docmill:tests", network_mode="host")
broker_on_docker = _docker_redis()
backend_on_docker = _docker_redis()
worker_on_docker = _docker_worker()
second_worker_on_docker = _docker_worker()
