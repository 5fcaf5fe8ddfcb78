#!/usr/bin/env bash
# A Docker engine with compose, where there is none: from Debian's packages, and running.
#
#   tests/docker/engine.sh           installs and starts what is missing
#   tests/docker/engine.sh stop      ends the engine if this script has started it
#
# Debian 12 brings compose 1, which knows nothing of today's files. So the client, the engine and
# compose come from Debian 13, and nothing else does: its containerd and runc need a newer libc.
set -euo pipefail

PID_FILE=/var/run/lalepass-dockerd.pid
LOG=/var/log/lalepass-dockerd.log
WANTED=(docker.io docker-cli docker-compose docker-buildx)
STARTED_WITHIN=60 # seconds

. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

codename() {
    . /etc/os-release
    echo "${VERSION_CODENAME:-}"
}

add_newer_debian() {
    local main security
    main=$(mirror debian)
    security=$(mirror debian-security)
    [ -n "$main" ] || {
        echo "engine: no Debian mirror in this machine's apt sources" >&2
        exit 1
    }
    {
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $main trixie main"
        [ -z "$security" ] || echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
            "$security trixie-security main"
    } | as_root tee /etc/apt/sources.list.d/lalepass-trixie.list > /dev/null
    printf 'Package: *\nPin: release n=trixie*\nPin-Priority: 100\n\nPackage: %s\n%s\n%s\n' \
        "${WANTED[*]}" 'Pin: release n=trixie*' 'Pin-Priority: 600' \
        | as_root tee /etc/apt/preferences.d/lalepass-trixie > /dev/null
}

install() {
    [ "$(codename)" != bookworm ] || add_newer_debian
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -qq
    as_root apt-get install -qq -y --no-install-recommends "${WANTED[@]}" iptables > /dev/null
    hash -r
}

usable() {
    docker info > /dev/null 2>&1
}

complete() {
    command -v dockerd > /dev/null && docker compose version > /dev/null 2>&1
}

start() {
    # Nothing may keep this script's standard output open: who waits for its end would wait for
    # the engine's.
    as_root sh -c "setsid dockerd --pidfile $PID_FILE > $LOG 2>&1 < /dev/null &"
    for _ in $(seq "$STARTED_WITHIN"); do
        ! usable || return 0
        sleep 1
    done
    echo "engine: dockerd does not answer; the end of $LOG:" >&2
    as_root tail -n 5 "$LOG" >&2
    exit 1
}

stop() {
    [ -e "$PID_FILE" ] || return 0
    as_root sh -c "kill \$(cat $PID_FILE)"
}

if [ "${1:-start}" = stop ]; then
    stop
    exit
fi
if ! usable; then
    complete || install
    start
fi
docker compose version > /dev/null 2>&1 || install
docker version --format 'engine: Docker {{.Server.Version}}, compose '"$(docker compose version --short)"
