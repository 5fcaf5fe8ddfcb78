# Sourced: both profiles have the same volumes, and only one at a time may work with them.

# A server of PostgreSQL keeps the folder with its secrets locked for as long as it runs:
# postgres/small, postgres/start.
alone() { # PROFILE FOLDER: the other one, and where its server has its secrets
    # Not at once: another prepare may be asking the same.
    flock --timeout 1 "$2" true || {
        echo "prepare: nothing was changed, since the profile $1 runs. End it first:" \
            "docker compose --profile $1 down" >&2
        exit 1
    }
}
