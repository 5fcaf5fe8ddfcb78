#!/bin/sh
# Valkey for Synapse's replication: it carries messages and keeps nothing.
#
#   replication.sh          serves
#   replication.sh health   succeeds while it answers who knows the password
set -eu
password=$(cat /secrets/replication/password)

if [ "${1:-}" = health ]; then
    # By the environment: arguments are for everybody to read.
    answer=$(REDISCLI_AUTH=$password valkey-cli -h 127.0.0.1 ping)
    [ "$answer" = PONG ]
    exit
fi

umask 077
cat > /tmp/valkey.conf << END
bind * -::*
protected-mode yes
requirepass $password
save ""
appendonly no
dir /data
END
exec valkey-server /tmp/valkey.conf
