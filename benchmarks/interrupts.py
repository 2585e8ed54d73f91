"""How a measurement that runs for long is ended by hand."""

from __future__ import annotations

import signal


def heed(*more: signal.Signals) -> None:
    """The first Ctrl-C or SIGTERM (or one of `more`) ends the run, and every process of it; later ones do not disturb
    that. Ctrl-C is heeded also where the shell has it ignored, as for what runs in the background."""
    numbers = (signal.SIGINT, signal.SIGTERM, *more)

    def interrupt(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)
