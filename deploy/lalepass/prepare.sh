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
# Each part finds its secrets in a volume of its own, readable for the group 8220 only:
#   /secrets/lalepass    the service's certificate, and one for its health check
#   /secrets/homeserver  a token, and a certificate to show to the service
#   /secrets/database    the password of Synapse's database
# The authority that signs the certificates is in /authority, which no other container sees.
set -eu
umask 027

renew=
case ${1:-} in
    '' | token) ;;
    certificates) renew=--renew ;;
    *)
        echo "prepare: there is nothing called $1 to make anew: certificates or token" >&2
        exit 2
        ;;
esac

cd /var/lib/lalepass
[ -e lalepass.toml ] || lalepass init > /dev/null
lalepass db migrate

certificate() { # NAME FOLDER OPTIONS...
    name=$1 folder=$2
    shift 2
    lalepass certificate "$name" --directory "$folder" --authority /authority --mode 640 \
        ${renew:+"$renew"} "$@"
    chmod 644 "$folder/ca.crt"
}
certificate lalepass /secrets/lalepass --host lalepass --host localhost --host 127.0.0.1
certificate health /secrets/lalepass --client
certificate homeserver /secrets/homeserver --client

token=/secrets/homeserver/token
if [ ! -s "$token" ] || [ "${1:-}" = token ]; then
    rm -f "$token.new"
    lalepass token create homeserver --scope check --scope feed --output "$token.new" > /dev/null
    chmod 640 "$token.new"
    mv "$token.new" "$token"
    echo "made a token for the homeserver"
fi

password=/secrets/database/password
if [ ! -s "$password" ]; then
    python -c 'import secrets; print(secrets.token_urlsafe(32), end="")' > "$password.new"
    mv "$password.new" "$password"
    echo "made a password for Synapse's database"
fi
