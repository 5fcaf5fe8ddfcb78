#!/bin/sh
# What prepare.sh is for the profile `small`, for `scale`. Doing it again changes nothing, and goes on
# where an earlier run has been killed.
#
#   scale.sh secrets     certificates and passwords; needs no network
#   scale.sh accounts    Lalepass's tables, its first key and the homeserver's token; waits for a primary
#   scale.sh watch       renews certificates for as long as it runs
#
# To have new ones at once, while the stack runs; parts notice within seconds:
#
#   docker compose run --rm scale-prepare certificates
#   docker compose run --rm scale-accounts token
#
# To bring over the accounts of the profile `small`, while neither runs; or to begin without them:
#
#   docker compose run --rm scale-accounts move
#   docker compose run --rm scale-accounts anew
#
# Each part finds its secrets in a volume of its own, readable for the group 8220 only:
#   /secrets/lalepass    the service's certificate and passwords, and a certificate for its health check
#   /secrets/homeserver  a token, and a certificate to show to the service
#   /secrets/database    the password of Synapse's database
#   /secrets/postgres    the servers' certificates, who may log in, and the passwords of the two
#   /secrets/counters    the certificate of Lalepass's Valkey, and who may log in there
#   /secrets/metrics     a certificate for Prometheus to show to Lalepass
#   /secrets/media       the media-cleaner's password for Synapse's database
# The authority that signs the certificates is in /authority.
set -eu
umask 027

part=$1 wanted=${2:-}
renew=
case "$part $wanted" in
    'secrets ' | 'watch ' | 'accounts ' | 'accounts token' | 'accounts move' | 'accounts anew') ;;
    'secrets certificates') renew=--renew ;;
    *)
        echo "scale: $part does not know what $wanted is" >&2
        exit 2
        ;;
esac
. /deploy/alone.sh
. /deploy/certificates.sh

certificates() {
    lock_authority
    # With the name of the profile small, which has the same file.
    certificate lalepass /secrets/lalepass --host lalepass --host lalepass-1 --host lalepass-2 \
        --host localhost --host 127.0.0.1
    certificate health /secrets/lalepass --client
    certificate homeserver /secrets/homeserver --client
    certificate postgres-1 /secrets/postgres
    certificate postgres-2 /secrets/postgres
    certificate server /secrets/counters --host counters --host localhost
    certificate prometheus /secrets/metrics --client
    # Shows none to anybody, and has to know the servers.
    cmp -s /secrets/postgres/ca.crt /secrets/media/ca.crt || {
        install -m 640 /secrets/postgres/ca.crt /secrets/media/ca.crt.new
        mv /secrets/media/ca.crt.new /secrets/media/ca.crt
    }
    unlock_authority
}

passwords() { # COMMAND ARGUMENTS...
    python /deploy/passwords.py "$@"
}

login() { # ROLE FILE: a role of PostgreSQL, and where who logs in as it finds the password
    passwords password "$2"
    passwords scram "$2" "/secrets/postgres/$1.scram"
}

secrets() {
    alone small /secrets/database
    certificates
    # The first start of an installation, and none after it, may make an empty cluster. It has begun
    # with a token: see postgres/start.
    new=/secrets/postgres/new.postgres-1
    if [ -s /secrets/homeserver/token ]; then
        rm -f "$new"
    elif [ ! -e /secrets/postgres/synapse.scram ]; then
        touch "$new"
    fi
    login synapse /secrets/database/password
    login lalepass /secrets/lalepass/database-password
    login media /secrets/media/password
    login lookout /secrets/postgres/lookout.password
    login standby /secrets/postgres/standby.password
    passwords password /secrets/lalepass/counters-password
    # As docs/valkey.md has it.
    passwords acl /secrets/lalepass/counters-password /secrets/counters/users.acl \
        lalepass '~lalepass:*' +hmget +hgetall +hset +hget +hdel +hkeys +hexists +del +persist +pttl \
        +pexpire +set +get +time +scan +evalsha '+script|load' +info +select
}

file=/var/lib/lalepass/lalepass.db

database() { # what `lalepass db status` says of it; waits for a primary, three minutes at most
    left=90
    until said=$(lalepass db status --json 2> /tmp/said); do
        left=$((left - 1))
        if [ "$left" = 0 ]; then
            cat /tmp/said >&2
            return 1
        fi
        sleep 2
    done
    echo "$said" | python -c 'import json, sys; print(json.load(sys.stdin)["state"])'
}

move() {
    address=$(python -c 'import sys, tomllib
with open(sys.argv[1], "rb") as file:
    print(tomllib.load(file)["database"]["url"])' "$LALEPASS_CONFIG")
    LALEPASS_CONFIG=/var/lib/lalepass/lalepass.toml lalepass db migrate
    lalepass db copy --from "sqlite:$file" --to "$address" \
        --password-file /secrets/lalepass/database-password
}

accounts() {
    state=$(database)
    if [ -s "$file" ] && { [ "$state" = empty ] || [ "$state" = unfinished ]; }; then
        case $wanted in
            move) move ;;
            anew) ;;
            *)
                echo "scale: the profile small has accounts, which PostgreSQL has not got yet. To bring" \
                    "them over: docker compose run --rm scale-accounts move" >&2
                exit 1
                ;;
        esac
    elif [ "$wanted" = move ]; then
        echo "scale: nothing to move: PostgreSQL has accounts, or the profile small has none" >&2
        exit 1
    fi
    lalepass db migrate
    [ -e /var/lib/lalepass/keys/active ] || lalepass keys add > /dev/null
    . /deploy/tokens.sh
    keep_token "$wanted"
}

case $part in
    secrets) secrets ;;
    accounts) accounts ;;
    watch)
        rm -f /secrets/postgres/new.postgres-1
        watch
        ;;
esac
