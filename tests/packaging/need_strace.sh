#!/bin/sh
# Makes sure that there is a strace for the tests that kill at a system call:
# the one on the path, else the operating system's package where this user may
# install it, else an error that says the command.
set -eu

command -v strace >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="none"; fi
    if [ "$as_root" != none ]; then
        echo "strace is missing: installing it from the operating system's package"
        export DEBIAN_FRONTEND=noninteractive
        $as_root apt-get update -qq || true
        $as_root apt-get install -y -qq --no-install-recommends strace >/dev/null
        command -v strace >/dev/null 2>&1 && exit 0
    fi
fi
echo "The fault tests kill at a system call, and there is no strace here. Install it: sudo apt-get install strace" >&2
exit 1
