# Sourced by the scripts here. The environment has NAME, which of the two this is, and OTHER, where
# the other one is reached.

RUN=/var/run/postgresql
SECRETS=/secrets/postgres
PASSFILE=$RUN/pgpass
# Asks the start, which alone touches the files of the cluster, for something: see start.
REQUEST=$RUN/request
# There while the server may be used.
READY=$RUN/ready

# A standby has a slot on the primary, by its name; while it is copied, another one.
SLOT=${NAME//-/_}
OTHERS_SLOT=${OTHER//-/_}
COPY=_copy
# There while it is not known whether the primary has this standby's slot: nobody promotes it then.
SLOTLESS=$PGDATA/.slotless

CLUSTER="SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary ' || ('x'
    || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END
    || ' ' || (SELECT system_identifier FROM pg_control_system())"

say() {
    echo "$NAME: $*" >&2
}

to_other() { # USER: how it is reached. libpq knows the password by the file.
    printf %s "host=$OTHER user=$1 passfile=$PASSFILE sslmode=verify-full" \
        " sslrootcert=$SECRETS/ca.crt connect_timeout=3 keepalives_idle=10 keepalives_interval=5" \
        " keepalives_count=3"
}

query() { # SQL: what this server says
    timeout 60 psql --no-psqlrc --quiet --tuples-only --no-align --username=postgres \
        --dbname=postgres --command="$1"
}

# What a server is: `standby CLUSTER` or `primary TIMELINE CLUSTER`; nothing without an answer.
this_one() {
    query "$CLUSTER" 2> /dev/null || true
}

other_one() {
    timeout 10 psql --no-psqlrc --quiet --tuples-only --no-align \
        "$(to_other lookout) dbname=postgres" --command="$CLUSTER" 2> /dev/null || true
}
