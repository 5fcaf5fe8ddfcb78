#!/bin/sh
# As the official image documents: options alone are HAProxy's, and HAProxy runs with a master, in
# the foreground.
set -e
case "${1:-}" in
    -*) set -- haproxy "$@" ;;
esac
if [ "${1:-}" = haproxy ]; then
    shift
    set -- haproxy -W -db "$@"
fi
exec "$@"
