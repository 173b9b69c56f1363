#!/bin/sh
# Makes sure that there are PostgreSQL's programs for the tests, which start a
# server of their own: those on the path or where Debian puts them, else the
# operating system's package where this user may install it, else an error that
# says the command.
set -eu

found() { command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }

found && exit 0
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="none"; fi
    if [ "$as_root" != none ]; then
        echo "PostgreSQL is missing: installing it from the operating system's package"
        export DEBIAN_FRONTEND=noninteractive
        $as_root apt-get update -qq || true
        $as_root apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
        # The tests make a server of their own; nobody asked for one that runs for ever.
        [ -e /etc/postgresql-common/createcluster.d/edgeml.conf ] || {
            $as_root mkdir -p /etc/postgresql-common/createcluster.d
            echo "create_main_cluster = false" |
                $as_root tee /etc/postgresql-common/createcluster.d/edgeml.conf >/dev/null
        }
        $as_root apt-get install -y -qq --no-install-recommends postgresql >/dev/null
        found && exit 0
    fi
    cure="sudo apt-get install postgresql"
elif command -v dnf >/dev/null 2>&1; then cure="sudo dnf install postgresql-server"
elif command -v pacman >/dev/null 2>&1; then cure="sudo pacman -S postgresql"
elif command -v brew >/dev/null 2>&1; then cure="brew install postgresql@16"
else cure="install the package 'postgresql' of your system"
fi
echo "The tests run against a real PostgreSQL, and there is none here. Install it: $cure" >&2
exit 1
