# shellcheck shell=bash
# Sourced after setup.sh: `build` compiles the extension for PG_CONFIG. Its files lie in $BUILT as they will below /.

BUILT=$PWD/target/install/pg$PG

# What a build is good for: this PostgreSQL, and the sources as they are.
purpose() { "$PG_CONFIG" --version --pkglibdir --sharedir --includedir-server; }

is_built() {
    [[ -e $BUILT.for && $(cat "$BUILT.for") == "$(purpose)" ]] || return
    local sources=(Cargo.toml Cargo.lock rust-toolchain.toml "$EXTENSION.control" core sql src tests/upgrade)
    [[ -z $(find "${sources[@]}" -newer "$BUILT.for" -print -quit 2>/dev/null) ]]
}

# The development files, whichever way they came: Debian's libclang.so is a part of them.
has_build_tools() {
    type -P cc >/dev/null && [[ -e $("$PG_CONFIG" --includedir-server 2>/dev/null)/postgres.h ]] || return
    [[ -n ${LIBCLANG_PATH:-} ]] || compgen -G '/usr/lib*/libclang.so' >/dev/null ||
        compgen -G '/usr/lib/*/libclang.so' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/libclang.so' >/dev/null
}

# pgrx takes a PostgreSQL's headers from its config.toml, where the private copies are registered. A PostgreSQL with
# headers of its own is named by an environment variable.
choose_headers() {
    local private
    private=$(realpath -q "$("$BIN/pg_config" --includedir-server 2>/dev/null)") || true
    [[ $private == "$(realpath "$("$PG_CONFIG" --includedir-server)")" ]] || export PGRX_PG_CONFIG_PATH=$PG_CONFIG
}

# The library names no folder of this machine: neither is any of a user's business, nor would two builds be the same.
without_paths() {
    local home=${CARGO_HOME:-$HOME/.cargo}
    export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=$EXTENSION --remap-path-prefix=$home=cargo --remap-path-prefix=$CARGO_TARGET_DIR=target"
}

# Asks for root only where something is missing that apt has to install
build() {
    ! is_built || return 0
    lock
    check_rust
    has_build_tools || install_packages
    install_cargo_pgrx
    write_pgrx_config
    choose_target
    choose_headers
    without_paths
    say "Building the extension for $("$PG_CONFIG" --version) (2 to 5 minutes the first time)"
    rm -rf "$BUILT" "$BUILT".*
    mkdir -p "$BUILT"
    purpose >"$BUILT.new"
    cargo pgrx package --pg-config "$PG_CONFIG" --out-dir "$BUILT" >/dev/null
    # The install scripts of older versions: CREATE EXTENSION ... VERSION '0.3.0'
    install -m 644 tests/upgrade/"$EXTENSION"--*.sql "$BUILT$("$PG_CONFIG" --sharedir)/extension/"
    mv "$BUILT.new" "$BUILT.for"
}
