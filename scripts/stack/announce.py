"""Says on standard output when a worker is ready, at every log level. The stack's workers import it (`--include`)."""

from __future__ import annotations

import os

from celery.signals import worker_ready

from scripts.stack.services import WORKER_READY


@worker_ready.connect  # sent once the worker consumes and answers remote control
def _announce(**_: object) -> None:
    os.write(1, f"{WORKER_READY}\n".encode())  # Celery may have put a logger in the place of sys.stdout
