#!/usr/bin/env bash
# Is each part of the running profile `scale` what it should be, does it reach what it has to, and
# nothing else? Asks that in the network of each container, with the files and the rights of that
# container, and once from outside:
#
#   deploy/scale/check.sh                    all
#   deploy/scale/check.sh synapse-main ...   in the place of these
#
# Exit codes: 0 all is well, 1 warnings, 2 something is wrong, 3 it could not be looked.
# COMPOSE_PROJECT_NAME says which installation; without it: lalepass. TOPOLOGY names another file.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=${COMPOSE_PROJECT_NAME:-lalepass}
file=$(realpath "${TOPOLOGY:-$here/topology.toml}")
at_once=4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

container() { # SERVICE: the id of its running container, if there is one
    docker ps --quiet --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$1" --filter "label=com.docker.compose.oneoff=False"
}

addresses() { # ID: all that it has on its networks
    docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}
{{end}}' "$1" | sed '/^$/d'
}

look() { # PART OPTIONS... : what the check says, with its exit code
    local part=$1
    shift
    # Nothing is written, and the image's own volume goes with the container.
    timeout 60 docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges:true \
        --memory 256m --pids-limit 256 --tmpfs /tmp:size=1m \
        --volume "$file:/topology.toml:ro" "$@" "$image" \
        topology check /topology.toml --from "$part" "${also[@]}"
}

from_container() { # PART ID
    local user groups
    user=$(docker inspect --format '{{.Config.User}}' "$2")
    groups=$(docker inspect --format '{{range .HostConfig.GroupAdd}}--group-add={{.}} {{end}}' "$2")
    # shellcheck disable=SC2086 # options without spaces
    look "$1" --network "container:$2" --volumes-from "$2:ro" --user "${user:-65534}" $groups
}

from_outside() { # PART
    look "$1" --network "${project}_front"
}

check() { # PART ID: leaves what is said, and the exit code
    local code=0
    if [ "$1" = clients ]; then
        from_outside "$1" > "$work/$1.said" 2>&1 || code=$?
    elif [ -z "$2" ]; then
        echo "FAIL  $1: no container of it runs" > "$work/$1.said"
        code=2
    else
        from_container "$1" "$2" > "$work/$1.said" 2>&1 || code=$?
    fi
    echo "$code" > "$work/$1.code"
}

# Each part, and where it is, if it listens. What is at another address than its name is not a container: a
# second port of another part, an S3 outside.
mapfile -t listed < <(awk -F '"' '
    function tell() { if (name != "") print name, host; name = host = "" }
    /^\[/ { tell() }
    /^\[parts\./ { name = $0; gsub(/^\[parts\.|\].*$/, "", name) }
    name != "" && /^address *=/ { host = $2; sub(/:[0-9]+$/, "", host) }
    END { tell() }' "$file")
known=()
for line in "${listed[@]}"; do
    read -r part host <<< "$line"
    [ "${host:-$part}" != "$part" ] || known+=("$part")
done
parts=("${@:-${known[@]}}")

image= also=()
declare -A ids
for part in "${known[@]}"; do
    ids[$part]=$(container "$part")
    case $part in
        lalepass-*)
            [ -z "${ids[$part]}" ] || image=$(docker inspect --format '{{.Image}}' "${ids[$part]}")
            ;;
    esac
done
for line in "${listed[@]}"; do
    read -r part host <<< "$line"
    id=${host:+${ids[$host]:-}}
    [ -n "$id" ] || continue
    # A name is known only where its network is: so the addresses are tried as well.
    for address in $(addresses "$id"); do also+=(--also "$part=$address"); done
done
image=${LALEPASS_IMAGE:-${image:-lalepass:${LALEPASS_TAG:-local}}}
docker image inspect "$image" > /dev/null 2>&1 || {
    echo "check: there is no image $image, and no container of Lalepass runs" >&2
    exit 3
}

for part in "${parts[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n || true; done
    check "$part" "${ids[$part]:-}" &
done
wait

worst=0
for part in "${parts[@]}"; do
    code=$(cat "$work/$part.code")
    [ "$code" -le 2 ] || code=3
    [ "$code" -le "$worst" ] || worst=$code
    if [ "$code" = 0 ]; then
        printf 'ok    from %s: %s\n' "$part" "$(tail -n 1 "$work/$part.said")"
    else
        printf '\nfrom %s:\n' "$part"
        # What is ok, or known, is left out, with the rest of its lines.
        awk '/^[^ ]/ {shown = !/^(ok|note) /} shown' "$work/$part.said"
    fi
done
exit "$worst"
