# Sourced: the certificates. Who does so has `certificates`, and `renew`, which is --renew or empty.

certificate() { # NAME FOLDER OPTIONS...
    name=$1 folder=$2
    shift 2
    lalepass certificate "$name" --directory "$folder" --authority /authority --mode 640 \
        ${renew:+"$renew"} "$@"
}

# One after the other: a key and its certificate are two files.
lock_authority() {
    exec 9> /authority/.lock
    flock --timeout 60 9
}

unlock_authority() {
    exec 9>&-
}

# Looks at them each day, and ends only with a signal.
watch() {
    # Whoever is process 1 is stopped by nothing that it does not ask for.
    trap 'exit 0' TERM INT
    while :; do
        certificates
        touch /tmp/looked
        sleep 86400 &
        wait $!
    done
}
