# shellcheck shell=bash
# Sourced: Debian releases in folders of their own, made and entered by root.

# Seen from inside of a folder
INSIDE_CERTIFICATES=/etc/ssl/host.crt

# enter_namespace variable...: runs the script again, with these variables, where what is mounted and what is started
# disappears with it, however it ends
enter_namespace() {
    [[ -z ${REFRESH_TOKENS_NAMESPACE:-} ]] || return 0
    ((EUID == 0)) || fail "only root can make and enter the folders of Debian releases." \
        "Without root, run it in a virtual machine or a privileged container of your own."
    exec env REFRESH_TOKENS_NAMESPACE=1 "$@" unshare --mount --pid --fork --kill-child --mount-proc "scripts/${0##*/}"
}

find_mirror() {
    [[ -z ${MIRROR:-} ]] || return 0
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016 # apt's own variables
    MIRROR=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' |
        awk -v suite="$codename" '$2 == suite && $3 == "main" { print $1; exit }')
    [[ -n $MIRROR ]] || fail "this machine's apt sources have no archive of $codename." \
        "Name a Debian archive: make ${0##*/} MIRROR=http://..."
}

# bootstrap suite folder: makes the folder, unless a run before has
bootstrap() {
    [[ ! -d $2 ]] || return 0
    local log=$2.bootstrap.log script=/usr/share/debootstrap/scripts/$1
    say "Fetching Debian $1 (usually 1 to 3 minutes)"
    # An older debootstrap has no script for newer releases; that of sid fits them.
    [[ -e $script ]] || script=${script%/*}/sid
    rm -rf --one-file-system "$2.new"
    debootstrap --variant=minbase --include=ca-certificates,make "$1" "$2.new" "$MIRROR" "$script" \
        >"$log" 2>&1 || fail "debootstrap failed; the end of $log says:" "$(tail -n 20 "$log")"
    # The packages of servers shall not start any.
    printf '%s\n' '#!/bin/sh' 'exit 101' >"$2.new/usr/sbin/policy-rc.d"
    chmod +x "$2.new/usr/sbin/policy-rc.d"
    mv "$2.new" "$2"
}

# How this machine reaches the network, for apt, cargo and pip inside of $ROOT
copy_network() {
    local file
    for file in /etc/resolv.conf /etc/hosts; do
        [[ ! -e $file ]] || cp -L --remove-destination "$file" "$ROOT$file"
    done
    apt-config dump | grep -E '^Acquire::(Check-|Retries|https?::)' >"$ROOT/etc/apt/apt.conf.d/90host" || true
    file=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    [[ ! -e $file ]] || cp -L "$file" "$ROOT$INSIDE_CERTIFICATES"
}

mount_system() {
    mount -t proc proc "$ROOT/proc"
    mount -t sysfs -o ro sysfs "$ROOT/sys"
    mount --rbind --make-rslave /dev "$ROOT/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$ROOT/dev/shm"
}

# inside folder [name=value...] command...: runs it in $ROOT, with nothing of this machine's environment but the way to
# the network
inside() {
    local name network=()
    for name in {http,https,no}_proxy {HTTP,HTTPS,NO}_PROXY; do
        [[ -z ${!name:-} ]] || network+=("$name=${!name}")
    done
    [[ ! -e $ROOT$INSIDE_CERTIFICATES ]] || network+=("CARGO_HTTP_CAINFO=$INSIDE_CERTIFICATES" "PIP_CERT=$INSIDE_CERTIFICATES")
    chroot "$ROOT" /usr/bin/env -i -C "$1" "${network[@]}" HOME=/root USER=root LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${@:2}" </dev/null 9>&-
}
