"""A worker's thread does one thing after the other, and keeps nobody from ending."""

import asyncio
import subprocess
import sys
import threading

import pytest

from popbeforesmtp.worker import Worker


def test_it_does_what_it_is_asked_in_order_and_in_one_thread() -> None:
    """Results and errors come back to who asked."""

    async def scene() -> list[str]:
        worker, seen = Worker("test"), list[str]()
        await asyncio.gather(
            *(worker.do(lambda n=n: seen.append(f"{n} {threading.current_thread().name}")) for n in range(3))
        )  # type: ignore[misc]
        assert await worker.do(len, [1, 2]) == 2
        with pytest.raises(ZeroDivisionError):
            await worker.do(divmod, 1, 0)
        worker.stop()
        return seen

    assert asyncio.run(scene()) == ["0 test", "1 test", "2 test"]


def test_who_is_cancelled_does_not_stop_the_work() -> None:
    """What was begun is finished, and what is asked next comes behind it."""

    async def scene() -> list[int]:
        worker, seen, gate = Worker("test"), list[int](), threading.Event()
        first = asyncio.create_task(worker.do(lambda: (gate.wait(10), seen.append(1))))
        await asyncio.sleep(0)
        first.cancel()
        gate.set()
        await worker.do(seen.append, 2)
        worker.stop()
        return seen

    assert asyncio.run(scene()) == [1, 2]


def test_a_hanging_worker_does_not_keep_the_process_from_ending() -> None:
    """A postmap or a disk that never answers dies with the daemon."""
    script = (
        "import asyncio, threading\n"
        "from popbeforesmtp.worker import Worker\n"
        "async def main():\n"
        "    task = asyncio.create_task(Worker('w').do(threading.Event().wait))\n"
        "    await asyncio.sleep(0.05)\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=20, check=False).returncode == 0
