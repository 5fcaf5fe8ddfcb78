#!/bin/sh
# Valkey with valkey.conf. It reads its certificate when it starts and
# not again: when that has been replaced, it ends, and the engine starts it anew within a second.
set -eu
valkey-server /deploy/valkey.conf &
server=$!
trap 'kill "$server"' TERM INT
used=$(cksum < /secrets/server.crt)
while kill -0 "$server" 2> /dev/null; do
    sleep 5 &
    wait $! || true
    [ "$(cksum < /secrets/server.crt)" = "$used" ] || kill "$server" 2> /dev/null || true
done
wait "$server"
