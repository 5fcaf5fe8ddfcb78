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

. /deploy/alone.sh
. /deploy/certificates.sh

certificates() {
    lock_authority
    # With the names of the profile scale, which has the same file.
    certificate lalepass /secrets/lalepass --host lalepass --host lalepass-1 --host lalepass-2 \
        --host localhost --host 127.0.0.1
    certificate health /secrets/lalepass --client
    certificate homeserver /secrets/homeserver --client
    unlock_authority
}

if [ "$wanted" = watch ]; then
    watch
fi

alone scale /secrets/postgres
cd /var/lib/lalepass
# An empty one is what a machine leaves that has lost power while it was written.
[ -s lalepass.toml ] || rm -f lalepass.toml
[ -e lalepass.toml ] || lalepass init > /dev/null
lalepass db migrate
certificates

. /deploy/tokens.sh
keep_token "$wanted"

password=/secrets/database/password
if [ ! -s "$password" ]; then
    python -c 'import secrets; print(secrets.token_urlsafe(32), end="")' > "$password.new"
    sync "$password.new"
    mv "$password.new" "$password"
    echo "made a password for Synapse's database"
fi
