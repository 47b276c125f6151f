"""One rank of a training in several processes: its order in, its share of every step, words out (`train.together`).

Run as `python -P -m insource.train.rank NUMBER`. It ends with its parent, whose death ends its stdin.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

import msgspec

from insource.errors import InsourceError, StoreError
from insource.nouns import to_json
from insource.train.course import Order
from insource.train.together import PARTED, Fault, Word, meeting, told


def main(number: int) -> int:
    """Takes part in the training as rank `number` and returns its exit status."""
    line = sys.stdin.buffer.readline()
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    words = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no word of ours

    def tell(word: Word) -> None:
        words.write(to_json(word) + b"\n")
        words.flush()

    order = told(line)
    try:
        return _take_part(order, number, tell)
    except OSError as error:
        full = f"{order.folder} cannot be written: {error.strerror}"
        tell(Word(fault=Fault.of(StoreError(full, hint="free disk space, run again"))))
    except InsourceError as error:
        tell(Word(fault=Fault.of(error)))
    return 1


def _take_part(order: Order, number: int, tell: Callable[[Word], None]) -> int:
    from insource.train.fit import learn, leave
    from insource.train.loop import Voice
    from insource.train.ranks import Parted, Ranks, joined

    ranks = Ranks(number=number, count=order.recipe.devices)
    voice = Voice(_mute, _mute, order.threads)
    if ranks.first:
        voice = Voice(
            lambda line: tell(Word(say=line)),
            lambda what, done, total: tell(Word(progress=(what, done, total))),
            order.threads,
        )
    try:
        with joined(ranks, meeting(order), order.patience_s):
            trained = learn(order, ranks, voice)
    except Parted as error:
        sys.stderr.write(f"{error}\n")
        return PARTED
    if ranks.first:
        tell(Word(made=msgspec.to_builtins(leave(order, trained))))
    return 0


def _mute(*_: object) -> None:
    """Says nothing."""


def _outlive_nobody() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing more is said: it comes back when the parent is gone
    os._exit(1)


def _ignore_ctrl_c() -> None:
    """It reaches the parent too, which ends the ranks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    _ignore_ctrl_c()
    sys.exit(main(int(sys.argv[1])))
