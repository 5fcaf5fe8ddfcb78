# Sourced by the scripts here: who may install, and from where.

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# The mirror that this machine takes its own packages from: another one may be out of reach.
mirror() { # $1: debian or debian-security
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null || true; } \
        | grep -oE "https?://[^ ]+/$1/?( |\$)" | head -n 1 | tr -d ' '
}
