"""Makes build/sources/own: a workstation's packages and PyTorch, as a PyTorch user has them.

The packages are those of the environment that runs this, by a .pth file; only
what is missing there is installed.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

from edgeml_converters.environments.recipes import TORCH_PIN

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "build" / "sources" / "own"


def main() -> None:
    """Make it, or mend what a killed run left."""
    python = FOLDER / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
    site = next(iter(FOLDER.glob("lib/python*/site-packages")))
    (site / "workstation.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, f"torch=={TORCH_PIN}"], check=True)
    lock = CHECKOUT / "requirements" / "sources.txt"
    subprocess.run([*install, "--require-hashes", "--no-deps", "-r", str(lock)], check=True)


if __name__ == "__main__":
    main()
