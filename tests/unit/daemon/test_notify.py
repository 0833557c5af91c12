"""What systemd is told."""

import asyncio
import os

from aiosd.daemon.notify import Notify


class FakeNotifier:
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.news = asyncio.Event()

    def notify(self, state: str) -> None:
        self.said.append(state)
        self.news.set()


def made(notifier: FakeNotifier, **environment: str) -> Notify:
    return Notify(asyncio.get_running_loop(), {"NOTIFY_SOCKET": "/run/x", **environment}, notifier)


async def test_ready_status_and_stopping_are_said_in_systemds_words() -> None:
    notifier = FakeNotifier()
    notify = made(notifier)
    notify.ready("2 experts")
    notify.status("3 experts")
    notify.reloading()
    notify.stopping()
    said = "\n".join(notifier.said).splitlines()
    assert said[:3] == ["READY=1", "STATUS=2 experts", "STATUS=3 experts"]
    assert "RELOADING=1" in said
    assert said[-1] == "STOPPING=1"


async def test_the_watchdog_is_fed_by_the_loop_once_ready_and_not_after_stopping() -> None:
    notifier = FakeNotifier()
    notify = made(notifier, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid()))
    assert notifier.said == []
    notify.ready("")
    async with asyncio.timeout(5):
        while notifier.said.count("WATCHDOG=1") < 4:
            notifier.news.clear()
            await notifier.news.wait()
    notify.stopping()
    count = len(notifier.said)
    await asyncio.sleep(0.05)
    assert len(notifier.said) == count


async def test_a_watchdog_meant_for_another_process_is_not_fed() -> None:
    notifier = FakeNotifier()
    notify = made(notifier, WATCHDOG_USEC="20000", WATCHDOG_PID="1")
    notify.ready("")
    await asyncio.sleep(0.03)
    assert "WATCHDOG=1" not in notifier.said


async def test_without_systemd_nothing_is_said() -> None:
    notifier = FakeNotifier()
    notify = Notify(asyncio.get_running_loop(), {"WATCHDOG_USEC": "1000"}, notifier)
    notify.ready("")
    notify.stopping()
    assert notifier.said == []
