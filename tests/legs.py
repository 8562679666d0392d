"""A pytest plugin: legs that need a server, tests that run alone, and skips that are counted.

A leg is a marker whose tests need something this machine may lack. They are skipped by name, and under CI=true or
DOCMILL_CHECK_ALL=1 any skip other than Docker's fails the run: a skip nobody sees is a defect.
"""

from __future__ import annotations

import gc
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

from tests.postgres import postgres_programs

NO_TESTS, FAILED = pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.TESTS_FAILED


@cache
def has_postgres() -> bool:
    """Whether PostgreSQL's programs are on this machine."""
    return postgres_programs() is not None


@cache
def has_redis_server() -> bool:
    """Whether Debian's redis-server is on PATH."""
    return shutil.which("redis-server") is not None


@cache
def has_docker() -> bool:
    """Whether a Docker engine answers within 3 s."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # docker-py forgets the socket of a refused connection
        answers = _ping_docker()
        gc.collect()
    return answers


def _ping_docker() -> bool:
    try:
        client = docker.from_env(timeout=3)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except DockerException:
        return False
    finally:
        client.close()


LEGS: dict[str, tuple[Callable[[], bool], str]] = {
    "postgres": (has_postgres, "needs initdb and postgres: apt install postgresql"),
    "redis_server": (has_redis_server, "needs redis-server: apt install redis-server"),
    "docker": (has_docker, "needs a Docker engine that answers"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`scripts/check` runs the suite in two parts and adds up their skips."""
    parser.addoption("--only", choices=["beside", "alone"], help="tests that run beside others, or those that must not")
    parser.addoption("--skips", type=Path, help="file to which the leg of each skipped test is appended, one a line")


def pytest_configure(config: pytest.Config) -> None:
    """Count on the process that sees every report: not on xdist's workers."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipCount(config), "skip-count")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the part that `--only` names."""
    only = config.getoption("--only")
    if only is None:
        return
    kinds: dict[str, list[pytest.Item]] = {"alone": [], "beside": []}
    for item in items:
        kinds["alone" if item.get_closest_marker("alone") else "beside"].append(item)
    items[:] = kinds.pop(only)
    config.hook.pytest_deselected(items=[item for others in kinds.values() for item in others])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose leg is missing, before any of its fixtures starts a server."""
    for leg, (is_here, reason) in LEGS.items():
        if item.get_closest_marker(leg) is not None and not is_here():
            pytest.skip(f"{leg}: {reason}")


class SkipCount:
    """How many tests of each leg were skipped; a skip outside the legs counts as `other`."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.by_leg: Counter[str] = Counter()
        self.strict = os.environ.get("CI") == "true" or os.environ.get("DOCMILL_CHECK_ALL") == "1"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a skipped test; an expected failure is reported as skipped too, and is none."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self.by_leg[next((leg for leg in LEGS if leg in report.keywords), "other")] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a module that skips itself."""
        if report.skipped:
            self.by_leg["other"] += 1

    @property
    def forbidden(self) -> list[str]:
        """Legs that must not be skipped here, and were."""
        return [leg for leg in self.by_leg if leg != "docker"] if self.strict else []

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the counts over, and fail where a skip is not allowed."""
        skips: Path | None = self.config.getoption("--skips")
        if skips is not None:
            with skips.open("a") as file:
                file.writelines(f"{leg}\n" for leg in self.by_leg.elements())
        if self.forbidden and session.exitstatus in {pytest.ExitCode.OK, NO_TESTS}:
            session.exitstatus = FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was skipped, where nobody can overlook it."""
        if self.by_leg:
            counts = ", ".join(f"{leg} {count}" for leg, count in sorted(self.by_leg.items()))
            terminalreporter.write_line(f"skipped: {counts}", yellow=True)
        if self.forbidden:
            names = ", ".join(self.forbidden)
            terminalreporter.write_line(f"failed: with CI=true nothing but docker may be skipped: {names}", red=True)
