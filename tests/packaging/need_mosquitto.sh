#!/bin/sh
# Makes sure that there is a Mosquitto for the tests: the one on the path, else
# the operating system's package where this user may install it, else an error
# that says the command.
set -eu

found() { command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || [ -x /usr/local/sbin/mosquitto ]; }

found && exit 0
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="none"; fi
    if [ "$as_root" != none ]; then
        echo "Mosquitto is missing: installing it from the operating system's package"
        export DEBIAN_FRONTEND=noninteractive
        $as_root apt-get update -qq || true
        $as_root apt-get install -y -qq --no-install-recommends mosquitto >/dev/null
        found && exit 0
    fi
    cure="sudo apt-get install mosquitto"
elif command -v dnf >/dev/null 2>&1; then cure="sudo dnf install mosquitto"
elif command -v pacman >/dev/null 2>&1; then cure="sudo pacman -S mosquitto"
elif command -v brew >/dev/null 2>&1; then cure="brew install mosquitto"
else cure="install the package 'mosquitto' of your system"
fi
echo "The tests run against a real Mosquitto, and there is none here. Install it: $cure" >&2
exit 1
