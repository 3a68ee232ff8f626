# shellcheck shell=bash
# Sourced: `setup` installs what is missing and says so; when nothing is, it takes a moment.

# A script that needs more than these adds to them.
PACKAGES=(ca-certificates gcc libc6-dev libclang-dev "postgresql-$PG" "postgresql-server-dev-$PG")

setup() {
    lock
    check_rust
    install_packages
    check_reach
    copy_postgresql
    install_cargo_pgrx
    write_pgrx_config
    choose_target
}

check_rust() {
    local needed found hint="Install it with rustup: see https://rustup.rs"
    choose_toolchain
    needed=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
    type -P cargo rustc >/dev/null || fail "there is no cargo: Rust $needed or newer is needed." "$hint"
    found=$(rustc --version | cut -d' ' -f2) || fail "rustc does not run: see above." "$hint"
    [[ $(printf '%s\n' "$needed" "$found" | sort -V | head -n 1) == "$needed" ]] ||
        fail "rustc is $found: Rust $needed or newer is needed." "Update it with: rustup update" "$hint"
}

# rustup downloads the toolchain that rust-toolchain.toml names, even if it has that very version under another name,
# such as stable. Then that one is used.
choose_toolchain() {
    local pinned name same=''
    [[ -z ${RUSTUP_TOOLCHAIN:-} ]] && type -P rustup >/dev/null || return 0
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    while read -r name _; do
        [[ $name != "$pinned"* ]] || return 0
        [[ $(rustc "+$name" --version 2>/dev/null) != "rustc $pinned "* ]] || same=$name
    done < <(rustup toolchain list)
    [[ -z $same ]] || export RUSTUP_TOOLCHAIN=$same
}

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == ?i* ]]; }

install_packages() {
    local package missing=() unknown=()
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        fail "this set-up knows Debian and Ubuntu (apt) only." \
            "On another system, run it in a container of debian:12."
    fi
    for package in "${PACKAGES[@]}"; do is_installed "$package" || missing+=("$package"); done
    ((${#missing[@]})) || return 0

    say "Installing with apt (usually 1 to 3 minutes): ${missing[*]}"
    check_sudo "${missing[@]}"
    as_root apt-get update -qq || fail "apt-get update failed: see above."
    for package in "${missing[@]}"; do
        apt-cache show "$package" >/dev/null 2>&1 || unknown+=("$package")
    done
    ((${#unknown[@]} == 0)) || fail "apt has no package ${unknown[*]}." \
        "PostgreSQL's own repository carries every version (https://wiki.postgresql.org/wiki/Apt):" \
        "  apt-get install postgresql-common && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh"
    if [[ " ${missing[*]} " == *" postgresql-$PG "* ]]; then
        without_a_main_cluster apt_install "${missing[@]}"
    else
        apt_install "${missing[@]}"
    fi
}

check_sudo() {
    ((EUID == 0)) && return
    local hint=("Install as root, then run this again:" "  apt-get install --no-install-recommends $*")
    command -v sudo >/dev/null || fail "packages are missing, and there is no sudo to install them." "${hint[@]}"
    sudo true || fail "packages are missing, and sudo refused to install them." "${hint[@]}"
}

apt_install() {
    local log=$CACHE/apt.log
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" \
        </dev/null >"$log" 2>&1 || fail "apt-get could not install $*; the end of $log says:" "$(tail -n 20 "$log")"
}

# Debian creates and starts a cluster when a server package is installed for the first time: here nobody asked for it.
without_a_main_cluster() {
    local drop_in=/etc/postgresql-common/createcluster.d/$EXTENSION-setup.conf
    (
        trap 'as_root rm -f "$drop_in"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        is_installed postgresql-common || apt_install postgresql-common
        as_root mkdir -p "${drop_in%/*}"
        echo 'create_main_cluster = false' | as_root tee "$drop_in" >/dev/null
        "$@"
    )
}

# fetch_package name: the files of a Debian package in $CACHE/name, where nothing starts them as a service. Only the
# libraries that it needs are installed.
fetch_package() {
    local folder=$CACHE/$1 libraries=()
    [[ ! -e $folder/complete ]] || return 0
    say "Fetching $1 with apt (a few seconds)"
    unpack_package "$1" || fail "apt can't download the package $1: see above."
    mapfile -t libraries < <(tr ',' '\n' <"$folder/depends" | sed -n 's/^ *\(lib[^ ]*\).*/\1/p')
    check_sudo "${libraries[@]}"
    apt_install "${libraries[@]}"
    touch "$folder/complete"
}

# try_package name: the same without what it needs, which is nothing but libc6. Where it can't be had, the tests that
# use it say that they are skipped.
try_package() {
    [[ ! -e $CACHE/$1/complete ]] || return 0
    say "Fetching $1 with apt (a few seconds)"
    if (unpack_package "$1"); then
        touch "$CACHE/$1/complete"
    else
        say "apt can't download $1: its tests are skipped"
    fi
}

# unpack_package name: into $CACHE/name, with the list of what it depends on in the file `depends`
unpack_package() {
    local folder=$CACHE/$1 file=()
    rm -rf "$folder"
    mkdir -p "$folder"
    (cd "$folder" && apt-get download "$1" >/dev/null 2>&1) || {
        check_sudo "$1"
        as_root apt-get update -qq && (cd "$folder" && apt-get download "$1" >/dev/null) || return 1
    }
    file=("$folder/$1"_*.deb)
    dpkg-deb -f "${file[0]}" Depends >"$folder/depends"
    dpkg-deb -x "${file[0]}" "$folder"
    rm "${file[0]}"
}

# The OAuth clients of tests/postgrest, which a Python of their own runs: $CLIENTS/bin/python.
CLIENTS=$CACHE/postgrest-clients
install_clients() {
    local requirements=tests/postgrest/requirements.txt
    ! cmp --quiet "$requirements" "$CLIENTS/requirements.txt" || return 0
    say "Installing the OAuth clients of the tests (a few seconds)"
    /usr/bin/python3 -m venv --clear "$CLIENTS"
    "$CLIENTS/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" ||
        fail "pip could not install what $requirements lists: see above."
    cp "$requirements" "$CLIENTS/"
}

# What the applications of docs/applications.md connect with, in a folder for each language that is on the machine:
# their tests say which are skipped. Together they take about 400 MB.
APPLICATIONS=$CACHE/applications
install_applications() {
    # Java's driver is a package of Debian.
    ! type -P java javac >/dev/null || try_package libpostgresql-jdbc-java
    ! type -P node npm >/dev/null || application node node_packages package.json package-lock.json
    application python python_packages requirements.txt
    ! type -P go >/dev/null || application go go_modules go.mod go.sum
    [[ ! -e $CACHE/libpostgresql-jdbc-java/complete ]] || application java java_driver
}

# application language command file...: runs the command in a new folder with these files of tests/applications, unless
# it has run with them before
application() {
    local folder=$APPLICATIONS/$1 command=$2 known
    local files=("${@:3}")
    files=("${files[@]/#/tests/applications/}")
    known=$(cat "${files[@]}" /dev/null | sha256sum)
    [[ $(cat "$folder/complete" 2>/dev/null) != "$known" ]] || return 0
    say "Installing what applications in $1 need (up to a minute)"
    rm -rf "$folder"
    mkdir -p "$folder"
    ((${#files[@]} == 0)) || cp "${files[@]}" "$folder/"
    if (cd "$folder" && "$command" >"$CACHE/applications.log" 2>&1); then
        echo "$known" >"$folder/complete"
    else
        say "It can't be installed, and its tests are skipped; the end of $CACHE/applications.log says:"
        tail -n 5 "$CACHE/applications.log"
    fi
}

node_packages() { npm ci --ignore-scripts --no-audit --no-fund; }

python_packages() {
    /usr/bin/python3 -m venv . &&
        bin/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r requirements.txt
}

# Built as well: that takes longer than the test.
go_modules() {
    export GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS='-modcacherw -mod=readonly' GOMODCACHE=$PWD/modules GOCACHE=$PWD/builds
    go mod download && go build github.com/jackc/pgx/v5/pgxpool
}

java_driver() { cp ../../libpostgresql-jdbc-java/usr/share/java/postgresql.jar .; }

check_reach() {
    ((EUID != 0)) || (cd / && as_server test -x "$CACHE") ||
        fail "as root, the server runs as the user postgres, who can't enter $CACHE." \
            "Set REFRESH_TOKENS_CACHE to a folder that every user can enter."
}

# PostgreSQL finds its files relative to its programs, so a copy of the package is an installation of its own:
# built into and tested with, it leaves the system's PostgreSQL and its clusters alone, and needs no root.
copy_postgresql() {
    local version
    version=$(dpkg-query -W -f '${Package} ${Version}\n' "postgresql-$PG" "postgresql-server-dev-$PG")
    [[ $(cat "$PRIVATE/version" 2>/dev/null) == "$version" ]] && return

    say "Copying PostgreSQL $PG to $PRIVATE (a few seconds)"
    local new=$PRIVATE.new folder
    rm -rf "$new"
    for folder in lib share; do
        mkdir -p "$new/$folder/postgresql"
        cp -aL "/usr/$folder/postgresql/$PG" "$new/$folder/postgresql/$PG"
    done
    ln -s /usr/include "$new/include"
    remove_extension "$new"
    echo "$version" >"$new/version"
    rm -rf "$PRIVATE"
    mv "$new" "$PRIVATE"
}

install_cargo_pgrx() {
    [[ -n $PGRX ]] || fail "Cargo.toml does not pin pgrx as pgrx = \"=x.y.z\"."
    [[ -x $CARGO_PGRX ]] && return
    say "Building cargo-pgrx $PGRX, once (usually 2 to 5 minutes)"
    local target=$CACHE/cargo-pgrx-build
    # Optimising it takes longer than it would save, and only downloads, which are not used, need a TLS library.
    CARGO_TARGET_DIR=$target CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-pgrx --version "=$PGRX" --locked \
        --debug --no-default-features --root "$CACHE/cargo-pgrx-$PGRX" ||
        fail "cargo could not build cargo-pgrx $PGRX: see above." \
            "If a download failed, run this again: what is built stays in $target."
    rm -rf "$target"
}

# The checks of the dependencies, for `make lint`
CARGO_DENY=0.20.2
install_cargo_deny() {
    local root=$CACHE/cargo-deny-$CARGO_DENY target=$CACHE/cargo-deny-build
    PATH=$root/bin:$PATH
    [[ ! -x $root/bin/cargo-deny ]] || return 0
    say "Building cargo-deny $CARGO_DENY, once (usually 3 to 8 minutes)"
    CARGO_TARGET_DIR=$target CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --version "=$CARGO_DENY" --locked \
        --debug --root "$root" || fail "cargo could not build cargo-deny $CARGO_DENY: see above." \
        "If a download failed, run this again: what is built stays in $target."
    rm -rf "$target"
}

# Written only when it changes: pgrx's build script would run again.
write_pgrx_config() {
    local copy config
    config=$(
        echo "[configs]"
        for copy in "$CACHE"/postgresql-*/lib/postgresql/*/bin/pg_config; do
            [[ -x $copy ]] || continue
            copy=${copy%/bin/pg_config}
            echo "pg${copy##*/} = \"$copy/bin/pg_config\""
        done
    )
    [[ $(cat "$PGRX_HOME/config.toml" 2>/dev/null) == "$config" ]] && return
    mkdir -p "$PGRX_HOME"
    echo "$config" >"$PGRX_HOME/config.toml"
}

# Outside the checkout, so that a fresh clone builds quickly. cargo judges by file times whether a package of the
# workspace is up to date, and would take another checkout's newer build for this one's.
choose_target() {
    [[ -z ${CARGO_TARGET_DIR:-} ]] || return 0
    export CARGO_TARGET_DIR=$CACHE/target
    local owner=$CARGO_TARGET_DIR/checkout
    [[ $(cat "$owner" 2>/dev/null) == "$PWD" ]] && return
    mkdir -p "$CARGO_TARGET_DIR"
    cargo clean --quiet --workspace
    cargo clean --quiet --workspace --release
    echo "$PWD" >"$owner"
}

remove_extension() {
    rm -f "$1/lib/postgresql/$PG/lib/$EXTENSION.so" "$1/share/postgresql/$PG/extension/$EXTENSION"{.control,--*.sql}
}

install_release() {
    remove_extension "$PRIVATE"
    cargo pgrx install --release --pg-config "$BIN/pg_config"
}
