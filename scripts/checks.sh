# shellcheck shell=bash
# Sourced: `check` runs one check and counts it, `conclude` says how many passed.

PASSED=0
FAILED=0

# check what command...
check() {
    if "${@:2}" >"$TEMP/output" 2>&1; then
        PASSED=$((PASSED + 1))
        say "ok      $1"
    else
        FAILED=$((FAILED + 1))
        say "FAILED  $1"
        tail -n 20 "$TEMP/output"
    fi
}

conclude() {
    echo "$PASSED passed, $FAILED failed"
    ((PASSED > 0 && FAILED == 0))
}
