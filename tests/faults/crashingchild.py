"""A probe's child whose interpreter dies of one model as it does of a corrupt one: by SIGSEGV."""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

from edgeml.runtime.probechild import main

CORRUPT: Final = "EDGEML_TEST_CORRUPT"
"""In the environment: the SHA-256 of the model that it dies of; others are probed for real."""

if __name__ == "__main__":
    model = Path(json.loads(sys.argv[3])["path"]).read_bytes()
    if hashlib.sha256(model).hexdigest() == os.environ[CORRUPT]:
        os.kill(os.getpid(), signal.SIGSEGV)
    sys.exit(main(sys.argv[1:]))
