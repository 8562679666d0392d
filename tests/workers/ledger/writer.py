"""A process that runs a submission's jobs against the ledger and prints each one it has settled, until it is killed."""

from __future__ import annotations

import asyncio
import sys

from tasks.model.verdict import Done
from tests.workers.ledger.samples import ROUTE, answered, call_of
from workers.ledger import GroupedLedger, open_database, results


async def main(url: str, submission_id: str) -> None:
    with open_database(url) as database:
        job_ids = [result.job_id for result in results(database, submission_id)]
    async with await GroupedLedger.open(url, owner_timeout_s=15) as ledger:
        slots = asyncio.Semaphore(50)

        async def run(job_id: str) -> None:
            async with slots:
                job = await ledger.claim(job_id, 0)
                assert job is not None
                call, shell = call_of(job)
                await ledger.sending(job, call, ROUTE, shell)
                if await ledger.settle(job, answered(call), Done("out")):
                    print(job_id, flush=True)

        await asyncio.gather(*(run(job_id) for job_id in job_ids))


if __name__ == "__main__":
    asyncio.run(main(sys.stdin.readline().strip(), sys.stdin.readline().strip()))
