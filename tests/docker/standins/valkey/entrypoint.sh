#!/bin/sh
# As the official image documents: options, or a file of them, are for valkey-server, which root does
# not run itself; anything else is a command.
set -eu
case ${1:-} in
    -* | *.conf) set -- valkey-server "$@" ;;
esac
if [ "${1:-}" = valkey-server ] && [ "$(id -u)" = 0 ]; then
    find . \! -user valkey -exec chown valkey {} +
    exec gosu valkey "$0" "$@"
fi
exec "$@"
