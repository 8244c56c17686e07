"""FairLock: one thread at a time, in the order in which they came."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from shoestring.engine.lock import FairLock


def waiting(lock: FairLock, count: int) -> None:
    """Wait until so many threads wait for the lock."""
    while len(lock._waiting) < count:
        time.sleep(0.001)


def test_one_thread_at_a_time() -> None:
    lock, inside, most = FairLock(), [0], [0]

    def work() -> None:
        for _ in range(300):
            with lock, lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert not lock.entered


def test_threads_get_it_in_the_order_in_which_they_came() -> None:
    lock, order = FairLock(), list[int]()

    def take(number: int) -> None:
        with lock:
            order.append(number)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(8)]
    with lock:
        for count, thread in enumerate(threads, 1):
            thread.start()
            waiting(lock, count)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_a_thread_that_takes_it_again_and_again_lets_others_in() -> None:
    lock, got = FairLock(), threading.Event()

    def take() -> None:
        with lock:
            got.set()

    thread = threading.Thread(target=take)
    turns = 0
    while not got.is_set():
        with lock:
            if not turns:
                thread.start()
            if lock._waiting or turns:
                turns += 1
        assert turns < 3, "the waiting thread was passed over"
    thread.join()


def test_an_interrupt_while_waiting_leaves_the_lock_to_others() -> None:
    lock, go = FairLock(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            go.wait()

    held = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt), lock:
            pass
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not lock._waiting
    go.set()
    thread.join()
    with lock:
        assert lock.entered
