"""docker-compose.yml brought up for real: samples go in, synthetic answers come out, nothing is left behind."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
from docker.models.images import Image

from scripts.stack.valkey import free_port
from tests.system.cluster.processes import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


class Stack:
    """One compose project of its own name, port and password."""

    def __init__(self, compose: list[str]) -> None:
        self.password = secrets.token_hex(16)
        self.flower_port = free_port()
        self._compose = [*compose, "--project-name", f"docmill-test-{secrets.token_hex(4)}"]
        self._environment = os.environ | {
            "DOCMILL_IMAGE": "docmill:tests",
            "DOCMILL_PASSWORD": self.password,
            "DOCMILL_FLOWER_PORT": str(self.flower_port),
            "COMPOSE_PROFILES": "simulator",
            "ANTHROPIC_API_KEY": "",
            "ANTHROPIC_BASE_URL": "",
            "DOCMILL_SIMULATOR_URL": "http://simulator:8765",
        }

    def run(self, *arguments: str) -> str:
        """Output of a compose command. Fails the test with what it said when it does not succeed."""
        done = subprocess.run(
            [*self._compose, *arguments],
            cwd=ROOT,
            env=self._environment,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"compose {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def docmill(self, *arguments: str) -> str:
        """Output of the command line, in a container that sees the samples."""
        samples = f"{ROOT / 'tests' / 'samples'}:/samples:ro"
        return self.run("run", "--rm", "--no-TTY", "--volume", samples, "docmill", "docmill", *arguments)


@pytest.fixture
def stack(docmill_image: Image) -> Iterator[Stack]:
    """Up and healthy; taken down with its volumes."""
    assert docmill_image.tags
    stack = Stack(_compose())
    try:
        stack.run("up", "--detach", "--no-build", "--wait", "--wait-timeout", "180")
        yield stack
    finally:
        stack.run("--profile", "*", "down", "--volumes", "--timeout", "20")


def _compose() -> list[str]:
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    program = shutil.which("docker-compose")
    return [program] if program else pytest.skip("docker: no Compose on this machine")


def test_the_composed_stack_answers_documents_and_tells_nobody_its_password(stack: Stack) -> None:
    receipt = json.loads(stack.docmill("submit", "--json", "/samples"))
    stack.docmill("watch", receipt["submission_id"])
    answers = [json.loads(line) for line in stack.docmill("results", receipt["submission_id"]).splitlines()]
    assert len(answers) == len(list((ROOT / "tests" / "samples").iterdir()))
    assert {(answer["state"], answer["synthetic"]) for answer in answers} == {("done", True)}
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.flower_port}/healthcheck", timeout=10) as response:
        assert response.status == 200
    assert stack.password not in stack.run("top"), "an argument holds the password: every user of the host reads it"
