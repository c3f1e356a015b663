#!/bin/sh
# Read a photo through a server, and write it drawn:    sh client.sh http://localhost:8000 photo.jpg
# The key of a server that asks for one comes from the variable FEREMBED_KEY.
set -eu
[ $# -eq 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 1; }

send() {
  curl --silent --show-error --fail-with-body --retry 5 \
    --header "Authorization: Bearer ${FEREMBED_KEY:-}" "$@"
}

send --form "picture=@$2" "$1/v1/analyze?lang=es"
echo
send --form "picture=@$2" --output drawn.png "$1/v1/annotate?lang=es"
echo "Written: drawn.png"
