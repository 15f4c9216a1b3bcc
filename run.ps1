# Builds llama2.efi, boots it in QEMU and ends with its status (Windows; needs Rust from rustup and QEMU).
# Any flags of `cargo xtask run` may follow, for example: .\test-llama2-qemu.ps1 --memory 1G -- -t 0
$ErrorActionPreference = "Stop"
$env:Path += ";C:\Program Files\qemu"
Push-Location $PSScriptRoot
try {
    cargo xtask run --headless @args
    exit $LASTEXITCODE
} finally {
    Pop-Location
}
