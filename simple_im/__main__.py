"""`python -m simple_im VERB`."""

from __future__ import annotations

import signal
import sys

from simple_im.cli import main

if __name__ == "__main__":
    # Stopped like by Ctrl-C, a verb removes what it has half done.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
