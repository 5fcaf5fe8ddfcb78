#!/bin/sh
# Makes what is missing, and renews what soon ends: runs before the service, at each start of the
# stack. Doing it again changes nothing. To have new ones at once, while the stack runs:
#
#   docker compose run --rm lalepass-prepare certificates
#   docker compose run --rm lalepass-prepare token
#
# The service and the homeserver notice within seconds. The old token is good until it is revoked:
# `docker compose exec lalepass lalepass token list`, `... token revoke ID`.
#
# `prepare.sh watch` renews certificates for as long as it runs, and does nothing else.
#
# Each part finds its secrets in a volume of its own, readable for the group 8220 only:
#   /secrets/lalepass    the service's certificate, and one for its health check
#   /secrets/homeserver  a token, and a certificate to show to the service
#   /secrets/database    the password of Synapse's database
# The authority that signs the certificates is in /authority, which no other container sees.
set -eu
umask 027

wanted=${1:-}
renew=
case $wanted in
    '' | token | watch) ;;
    certificates) renew=--renew ;;
    *)
        echo "prepare: there is nothing called $wanted to make anew: certificates or token" >&2
        exit 2
        ;;
esac

certificate() { # NAME FOLDER OPTIONS...
    name=$1 folder=$2
    shift 2
    lalepass certificate "$name" --directory "$folder" --authority /authority --mode 640 \
        ${renew:+"$renew"} "$@"
}

certificates() {
    # One after the other: a key and its certificate are two files.
    exec 9> /authority/.lock
    flock --timeout 60 9
    certificate lalepass /secrets/lalepass --host lalepass --host localhost --host 127.0.0.1
    certificate health /secrets/lalepass --client
    certificate homeserver /secrets/homeserver --client
    exec 9>&-
}

if [ "$wanted" = watch ]; then
    # Whoever is process 1 is stopped by nothing that it does not ask for.
    trap 'exit 0' TERM INT
    while :; do
        certificates
        touch /tmp/looked
        sleep 86400 &
        wait $!
    done
fi

cd /var/lib/lalepass
# An empty one is what a machine leaves that has lost power while it was written.
[ -s lalepass.toml ] || rm -f lalepass.toml
[ -e lalepass.toml ] || lalepass init > /dev/null
lalepass db migrate
certificates

token=/secrets/homeserver/token

live_tokens() { # the ids of the homeserver's tokens that are good
    lalepass token list --json | python -c '
import json, sys
for token in json.load(sys.stdin)["tokens"]:
    if token["name"] == "homeserver" and token["revoked_at"] is None:
        print(token["id"])'
}

token_in() { # FILE: the id of the token in it, if there is a whole one
    [ ! -e "$1" ] || sed -n -E 's/^lalepass_([0-9a-f]{12})_[A-Za-z0-9_-]{43}$/\1/p' "$1"
}

among() { # ID IDS
    [ -n "$1" ] && echo "$2" | grep -qx "$1"
}

adopt_token() {
    chmod 640 "$token.new"
    mv "$token.new" "$token"
}

make_token() { # IDS, those that are good
    rm -f "$token.new"
    # There may be two. Where there are, one is in no file and can be of no use: it was made by a
    # run that was interrupted, or its homeserver has had the next one for long.
    if [ "$(echo "$1" | wc -l)" -ge 2 ]; then
        forgotten=$(echo "$1" | grep -vx "$(token_in "$token")" | head -n 1)
        lalepass token revoke "$forgotten"
    fi
    lalepass token create homeserver --scope check --scope feed --output "$token.new" > /dev/null
    adopt_token
    echo "made a token for the homeserver"
}

live=$(live_tokens)
if among "$(token_in "$token.new")" "$live"; then
    adopt_token
    echo "took over a token that was made before"
elif [ "$wanted" = token ] || ! among "$(token_in "$token")" "$live"; then
    # Also after another database was brought back, which knows other tokens.
    make_token "$live"
fi

password=/secrets/database/password
if [ ! -s "$password" ]; then
    python -c 'import secrets; print(secrets.token_urlsafe(32), end="")' > "$password.new"
    sync "$password.new"
    mv "$password.new" "$password"
    echo "made a password for Synapse's database"
fi
