#!/usr/bin/env bash
# Makes a cluster where there is none, as the official image documents: POSTGRES_USER, _PASSWORD,
# _DB, _INITDB_ARGS, each also as a file with _FILE behind its name, and what lies in
# /docker-entrypoint-initdb.d. Then it becomes the server.
set -euo pipefail

value() { # NAME DEFAULT
    local file="$1_FILE"
    if [ -n "${!file:-}" ]; then cat "${!file}"; else printf '%s' "${!1:-$2}"; fi
}

make_cluster() {
    local user password database arguments file
    user=$(value POSTGRES_USER postgres)
    password=$(value POSTGRES_PASSWORD '')
    database=$(value POSTGRES_DB "$user")
    [ -n "$password" ] || {
        echo "POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE has to be set" >&2
        exit 1
    }
    read -r -a arguments <<< "$(value POSTGRES_INITDB_ARGS '')"
    initdb --username="$user" --pwfile=<(printf '%s\n' "$password") --auth-host=scram-sha-256 \
        --auth-local=trust "${arguments[@]}"
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"

    # Nobody from outside meets a server that is not ready yet.
    pg_ctl --wait --options="-c listen_addresses=''" start
    [ "$database" = postgres ] || createdb --username="$user" "$database"
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc --username="$user" --dbname="$database" -f "$file" ;;
        esac
    done
    pg_ctl --wait --mode=fast stop
}

[ "${1:-postgres}" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    exec gosu postgres "$0" "$@"
fi
[ -s "$PGDATA/PG_VERSION" ] || make_cluster
exec postgres -c listen_addresses='*' "${@:2}"
