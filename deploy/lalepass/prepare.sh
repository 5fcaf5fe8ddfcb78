#!/bin/sh
# Makes what is missing, and renews what soon ends: runs before the service, at each start of the
# stack. Doing it again changes nothing.
#
# Each part finds its secrets in a volume of its own, readable for the group 8220 only:
#   /secrets/lalepass    the service's certificate, and one for its health check
#   /secrets/homeserver  a token, and a certificate to show to the service
#   /secrets/database    the password of Synapse's database
# The authority that signs the certificates is in /authority, which no other container sees.
set -eu
umask 027

cd /var/lib/lalepass
[ -e lalepass.toml ] || lalepass init > /dev/null
lalepass db migrate

certificate() { # NAME FOLDER OPTIONS...
    name=$1 folder=$2
    shift 2
    lalepass certificate "$name" --directory "$folder" --authority /authority --mode 640 "$@"
    chmod 644 "$folder/ca.crt"
}
certificate lalepass /secrets/lalepass --host lalepass --host localhost --host 127.0.0.1
certificate health /secrets/lalepass --client
certificate homeserver /secrets/homeserver --client

token=/secrets/homeserver/token
if [ ! -s "$token" ]; then
    rm -f "$token"
    lalepass token create homeserver --scope check --scope feed --output "$token" > /dev/null
    chmod 640 "$token"
    echo "made a token for the homeserver"
fi

password=/secrets/database/password
if [ ! -s "$password" ]; then
    python -c 'import secrets; print(secrets.token_urlsafe(32), end="")' > "$password.new"
    mv "$password.new" "$password"
    echo "made a password for Synapse's database"
fi
