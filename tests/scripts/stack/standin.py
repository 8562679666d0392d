"""A small program in the place of a real service: `standin.py NAME DIARY WAY`.

It writes to DIARY when it comes up and when it is told to stop. WAY: `good` is ready at once, `gated` when a file
DIARY.NAME appears, `broken` exits, `stubborn` does not stop when told and has a child of its own.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

name, diary, way = sys.argv[1], Path(sys.argv[2]), sys.argv[3]


def note(what: str) -> None:
    with diary.open("a") as file:
        file.write(f"{name} {what}\n")


def stop(*_: object) -> None:
    note("down")
    if way != "stubborn":
        sys.exit(0)


signal.signal(signal.SIGTERM, stop)
note("up")
if way == "broken":
    print("a first line\nno such luck", flush=True)
    sys.exit(3)
if way == "stubborn":
    print("child", subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]).pid, flush=True)
while way == "gated" and not diary.with_name(f"{diary.name}.{name}").exists():
    time.sleep(0.01)
print("ready", flush=True)
while True:
    time.sleep(600)
