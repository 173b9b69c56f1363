"""Says in one line whether this Python can hold the workstation's environment."""

import sys

OLDEST = (3, 10)
NEWEST = (3, 13)


def main() -> int:
    """Exit 1, with the cure, where TensorFlow publishes no wheel for this Python."""
    here = sys.version_info[:2]
    if OLDEST <= here <= NEWEST:
        return 0
    print(
        f"This is Python {here[0]}.{here[1]}; a workstation's TensorFlow needs 3.10 to 3.13.\n"
        "Name another one: make PYTHON=python3.12 …",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
