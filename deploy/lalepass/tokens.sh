# Sourced: the homeserver's token.

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

keep_token() { # WANTED: `token` for a new one
    live=$(live_tokens)
    if among "$(token_in "$token.new")" "$live"; then
        adopt_token
        echo "took over a token that was made before"
    elif [ "$1" = token ] || ! among "$(token_in "$token")" "$live"; then
        # Also after another database was brought back, which knows other tokens.
        make_token "$live"
    fi
}
