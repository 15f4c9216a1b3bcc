# Boots llama2.efi in QEMU, on Windows, from source. Accepts all flags of `cargo xtask run`:
#   .\run.ps1 --memory 1G --model my.gguf
# Without Rust it says what to do instead.
$ErrorActionPreference = "Stop"
$env:Path += ";$env:ProgramFiles\qemu"
function Has($program) { [bool](Get-Command $program -ErrorAction SilentlyContinue) }

if (-not (Has "cargo")) {
    Write-Host "This script builds llama2.efi from source, and there is no Rust here. Either"
    Write-Host "  install it from https://rustup.rs, open a new window, and start this again;"
    Write-Host "  or get llama2-stick.zip from somebody who has built it (cargo xtask dist), and"
    Write-Host "  unpack it onto a USB stick that is formatted as FAT32: a PC boots from it, with"
    Write-Host "  Secure Boot off. llama2\windows-x86_64\llama2.exe in it is the same program for"
    Write-Host "  Windows."
    exit 2
}
if (-not (Has "qemu-system-x86_64")) {
    Write-Host "QEMU is missing: install it from https://www.qemu.org/download (or: winget install"
    Write-Host "SoftwareFreedomConservancy.QEMU), open a new window, and start this again."
    exit 2
}
Push-Location $PSScriptRoot
try {
    cargo xtask run @args
    exit $LASTEXITCODE
} finally {
    Pop-Location
}
