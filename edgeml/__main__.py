"""`python -m edgeml` is `edgeml`."""

from edgeml.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
