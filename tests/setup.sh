#!/usr/bin/env bash
# Puts in place what the tests and the demonstration need and this machine lacks. Says what it does; does nothing where
# nothing is missing.
#
#   tests/setup.sh packages tmux git …   Debian packages, each only where its program is missing
#   tests/setup.sh agents                Claude Code and Codex at the tests' versions, from npm into target/agents
set -euo pipefail
cd "$(dirname "$0")/.."

# A need is there, or its package is to be installed.
is_there() {
    case $1 in
        zones) [ -e /usr/share/zoneinfo/Europe/Berlin ] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

package_of() {
    case $1 in
        cc) echo build-essential ;;
        node) echo nodejs ;;
        ps) echo procps ;;
        systemd-analyze) echo systemd ;;
        zones) echo tzdata ;;
        *) echo "$1" ;;
    esac
}

packages() {
    local need missing=() root=()
    for need in "$@"; do
        is_there "$need" || missing+=("$(package_of "$need")")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "setup: missing here, and this is no Debian or Ubuntu: install ${missing[*]} and run this again" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup: missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}" >&2
            exit 1
        fi
        root=(sudo)
    fi
    echo "setup: installing ${missing[*]} with ${root[*]:+sudo }apt-get"
    "${root[@]}" apt-get update --quiet
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "${missing[@]}"
    for need in "$@"; do
        is_there "$need" || { echo "setup: $(package_of "$need") is installed, and $need is still missing" >&2; exit 1; }
    done
}

# Compared by content: a fresh checkout with a kept target/ installs nothing.
agents() {
    local here=tests/agents there=target/agents
    if cmp --silent "$here/package-lock.json" "$there/installed-lock.json"; then
        return 0
    fi
    packages node npm
    echo "setup: installing Claude Code and Codex from npm into $there"
    mkdir -p "$there"
    rm -f "$there/installed-lock.json"
    cp "$here/package.json" "$here/package-lock.json" "$there/"
    # No install script runs: the programs are inside the platform's packages.
    npm ci --prefix "$there" --ignore-scripts --no-fund --no-audit --no-update-notifier --loglevel=error
    local program modules=$there/node_modules
    # npm 9, which Debian 12 has, also installs the package for another C library, whose program can't run here.
    for program in "$modules"/@anthropic-ai/claude-code-*-musl/claude; do
        if [ -e "$program" ] && ! HOME=$PWD/$there "$program" --version >/dev/null 2>&1; then rm -r "${program%/*}"; fi
    done
    for program in "$modules"/@anthropic-ai/claude-code-*/claude "$modules"/@openai/codex-*/vendor/*/bin/codex; do
        HOME=$PWD/$there "$program" --version
    done
    cp "$here/package-lock.json" "$there/installed-lock.json"
}

case ${1-} in
    packages) shift && packages "$@" ;;
    agents) agents ;;
    *) sed -n 's/^#   //p' "$0" >&2; exit 2 ;;
esac
