#!/bin/sh
# Makes sure that there is a faketime for the conformance suite: the one on the
# path, else the operating system's package where this user may install it, else
# an error that says the command.
set -eu

command -v faketime >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="none"; fi
    if [ "$as_root" != none ]; then
        echo "faketime is missing: installing it from the operating system's package"
        export DEBIAN_FRONTEND=noninteractive
        $as_root apt-get update -qq || true
        $as_root apt-get install -y -qq --no-install-recommends faketime >/dev/null
        command -v faketime >/dev/null 2>&1 && exit 0
    fi
fi
echo "The conformance suite turns a client's clock, and there is no faketime here. Install it: sudo apt-get install faketime" >&2
exit 1
