"""A probe's child whose interpreter dies as one does of a corrupt model: by SIGSEGV."""

import os
import signal

if __name__ == "__main__":
    os.kill(os.getpid(), signal.SIGSEGV)
