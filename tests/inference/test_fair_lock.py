"""Whoever waits for the model is served in turn, also beside somebody who always wants it."""

from __future__ import annotations

import threading
import time
from statistics import median

import pytest

from detclipv2.inference.fair_lock import FairLock


def test_three_who_always_come_back_let_a_fourth_in_after_one_turn_each() -> None:
    lock, over = FairLock(), threading.Event()
    turns = 0

    def insist() -> None:
        nonlocal turns
        while not over.is_set():
            with lock:
                turns += 1
                sum(range(20_000))

    threads = [threading.Thread(target=insist) for _ in range(3)]
    for thread in threads:
        thread.start()
    waited = []
    for _ in range(15):
        before = turns
        with lock:
            waited.append(turns - before)
        time.sleep(0.005)
    over.set()
    for thread in threads:
        thread.join()
    assert turns > 45
    assert median(waited) <= 4, waited  # a threading.Lock: about 15


def test_one_at_a_time_and_never_lost() -> None:
    lock, inside, most = FairLock(), 0, 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(20):
            with lock:
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert most == 1


def test_an_error_inside_frees_it() -> None:
    lock = FairLock()
    with pytest.raises(KeyError), lock:
        raise KeyError
    taken = threading.Event()

    def enter() -> None:
        with lock:
            taken.set()

    threading.Thread(target=enter, daemon=True).start()
    assert taken.wait(5)
