#!/bin/sh
# Ensures that a Rust compiler and a C linker are installed: all that is needed to build xtask, which does the rest.
# With --which: prints the cargo to use and installs nothing.
set -eu

PATH="$PATH:${HOME:-/root}/.cargo/bin"
if command -v cargo >/dev/null 2>&1; then cargo=$(command -v cargo); else cargo=/usr/bin/cargo; fi
if [ "${1:-}" = --which ]; then
    echo "$cargo"
    exit 0
fi

missing=""
if [ ! -x "$cargo" ]; then
    # Debian 12 has a newer compiler in packages with special names.
    if grep -qs '^VERSION_ID="12"' /etc/os-release; then
        missing="rustc-web cargo-web rust-web-src lld"
    else
        missing="rustc cargo rust-src lld"
    fi
fi
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ -n "$missing" ] || exit 0
# Also what xtask would need next, so that one command is enough.
command -v qemu-system-x86_64 >/dev/null 2>&1 || missing="$missing qemu-system-x86"
[ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || missing="$missing ovmf"
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"

line="apt-get install -y --no-install-recommends $missing"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "llama2.efi needs Rust 1.91 or newer (https://rustup.rs) and a C compiler (cc): install them, then try again" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "building needs packages that are not installed; type this, then try again:" >&2
    echo "  sudo apt-get update && sudo $line" >&2
    exit 1
fi
echo "installing with apt-get: $missing" >&2
apt-get update -q
DEBIAN_FRONTEND=noninteractive $line
