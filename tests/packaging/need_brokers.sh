#!/bin/sh
# Makes sure that the brokers of tests/brokers are there: Mosquitto, nats-server
# and RabbitMQ, from the operating system's packages where this user may install
# them; else an error that says the command. On a Debian with systemd the
# packages start their services; the tests use none of them.
set -eu

PATH="$PATH:/usr/sbin:/usr/local/sbin"
packages="mosquitto nats-server rabbitmq-server"
missing=""
for name in $packages; do command -v "$name" >/dev/null 2>&1 || missing="$missing $name"; done
[ -z "$missing" ] && exit 0
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="none"; fi
    if [ "$as_root" != none ]; then
        echo "Installing the brokers that are missing:$missing"
        export DEBIAN_FRONTEND=noninteractive
        $as_root apt-get update -qq || true
        # shellcheck disable=SC2086
        $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
        exit 0
    fi
fi
echo "The suite runs against real brokers, and these are missing:$missing. Install them: sudo apt-get install$missing" >&2
exit 1
