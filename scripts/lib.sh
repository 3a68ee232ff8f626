# shellcheck shell=bash
# Sourced by every script: places, messages, and who runs the server. Installs nothing.

set -euo pipefail
umask 022 # what root installs, the user postgres must be able to read
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PG=${PG:-15}
EXTENSION=refresh_tokens
PGRX=$(sed -n 's/^pgrx = "=\([0-9.]*\)".*/\1/p' Cargo.toml)

export HOME=${HOME:-~}
if ((EUID == 0)); then
    CACHE=${REFRESH_TOKENS_CACHE:-/var/cache/refresh_tokens}
else
    CACHE=${REFRESH_TOKENS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/refresh_tokens}
fi
PRIVATE=$CACHE/postgresql-$PG
BIN=$PRIVATE/lib/postgresql/$PG/bin

# PGHOST, PGDATA, PGRX_PG_CONFIG_PATH and the like speak of other servers than ours.
for name in "${!PG@}"; do
    case $name in PG | PGRX | PG_CONFIG) ;; *) unset "$name" ;; esac
done
# make's job server isn't for cargo.
unset MAKEFLAGS MFLAGS MAKELEVEL

# cargo-pgrx's test framework wants USER; containers often lack it.
export USER=${USER:-$(id -un)}
export PGRX_HOME=$CACHE/pgrx-home
export CARGO_PGRX=$CACHE/cargo-pgrx-$PGRX/bin/cargo-pgrx
PATH=${CARGO_PGRX%/*}:$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    BOLD=$'\e[1m' PLAIN=$'\e[0m'
else
    BOLD='' PLAIN=''
fi

# The version of the extension
release() { sed -n '0,/^version = "\(.*\)"/s//\1/p' Cargo.toml; }

say() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN"; }

fail() {
    printf '%s\n' "" "error: $1" "${@:2}" >&2
    exit 1
}

# Nothing that may stay (a server, above all) inherits the lock: `9>&-`, see lock.
as_root() {
    if ((EUID == 0)); then "$@" 9>&-; else sudo "$@" 9>&-; fi
}

# PostgreSQL refuses to run as root.
as_server() {
    if ((EUID == 0)); then runuser -u postgres -- "$@" 9>&-; else "$@" 9>&-; fi
}

cargo() { command cargo "$@" 9>&-; }

# Two runs at once would install different builds into the same private PostgreSQL. What a run starts is a part of it.
lock() {
    [[ ${REFRESH_TOKENS_LOCKED:-} != "$CACHE" ]] || return 0
    mkdir -p "$CACHE"
    exec 9>"$CACHE/lock"
    flock --nonblock 9 || {
        say "Waiting for another run that uses $CACHE"
        flock 9
    }
    export REFRESH_TOKENS_LOCKED=$CACHE
}

# A folder that the server may write into, in $TEMP; `cleanup` stops what still runs in it and removes it.
# Not in TMPDIR: the user postgres may have no way into it, and the path of a socket must be short.
make_temp() {
    TEMP=$(mktemp -d "/tmp/$EXTENSION.XXXXXX")
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    if ((EUID == 0)); then chown postgres: "$TEMP"; fi
}

# start_server: a throw-away one in $TEMP, reached through a socket there only
start_server() {
    (
        cd /
        as_server "$BIN/initdb" --no-sync --no-locale -E UTF8 -A trust -U postgres -D "$TEMP/data" >"$TEMP/log"
        as_server "$BIN/pg_ctl" start --silent --wait -D "$TEMP/data" -l "$TEMP/data/log" \
            -o "-c listen_addresses='' -c unix_socket_directories='$TEMP' -c fsync=off"
    )
}

cleanup() {
    local pidfile
    while read -r pidfile; do
        (cd / && as_server "$BIN/pg_ctl" stop --silent -m immediate -D "${pidfile%/*}") || true
    done < <(find "$TEMP" -name postmaster.pid)
    rm -rf "$TEMP"
}
