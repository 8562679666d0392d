"""`python -m tests.scripts.stack.supervised HOME`: a supervisor of three stand-ins that tests kill."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from scripts.stack.claim import Claim
from scripts.stack.supervisor import Supervisor
from tests.scripts.stack.conftest import standin


async def main(home: Path) -> None:
    diary = home / "diary"
    services = [
        standin("valkey", diary, stop=2),
        standin("worker", diary, stop=1),
        standin("flower", diary, stop=0),
        standin("stubborn", diary, "stubborn", stop=0, grace_s=0.5),
    ]
    claim = await Claim.take(home, patience_s=1)
    supervisor = Supervisor(services, home / "logs", claim, report=print, hear=lambda *_: None)
    await supervisor.start()
    print(json.dumps(supervisor.pids()), flush=True)
    await supervisor.wait()


asyncio.run(main(Path(sys.argv[1])))
