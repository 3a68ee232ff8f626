# shellcheck shell=bash
# Sourced before lib.sh by the scripts that serve one PostgreSQL: the one of PG_CONFIG, or Debian's.

if [[ -n ${PG_CONFIG:-} ]]; then
    type -P "$PG_CONFIG" >/dev/null || {
        echo "error: PG_CONFIG names no program: $PG_CONFIG" >&2
        exit 1
    }
    PG_CONFIG=$(realpath "$(type -P "$PG_CONFIG")")
    PG=$("$PG_CONFIG" --version 2>/dev/null | sed -nE 's/^PostgreSQL ([0-9]+).*/\1/p') || true
    [[ -n $PG ]] || {
        echo "error: PG_CONFIG is not PostgreSQL's pg_config: $PG_CONFIG" >&2
        exit 1
    }
else
    PG_CONFIG=/usr/lib/postgresql/${PG:-15}/bin/pg_config
fi
export PG_CONFIG

# For what installs nothing, and so needs a PostgreSQL that is there
need_pg_config() {
    [[ -x $PG_CONFIG ]] || {
        echo "error: there is no $PG_CONFIG. PG_CONFIG=... names another PostgreSQL's." >&2
        exit 1
    }
}

# as_owner command...: runs it with the right to write into that PostgreSQL's folders. Below DESTDIR the caller's rights
# must do.
as_owner() {
    if ((EUID == 0)) || [[ -n ${DESTDIR:-} ]]; then
        "$@"
    elif [[ -w $("$PG_CONFIG" --pkglibdir) && -w $("$PG_CONFIG" --sharedir)/extension ]]; then
        "$@"
    else
        sudo "$@"
    fi
}
