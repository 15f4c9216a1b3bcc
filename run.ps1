# Builds llama2.efi and boots it in QEMU, on Windows. Accepts all flags of `cargo xtask run`: .\run.ps1 --memory 1G --model my.gguf
$ErrorActionPreference = "Stop"
$env:Path += ";$env:ProgramFiles\qemu"
foreach ($need in @(
        @("cargo", "Rust, from https://rustup.rs"),
        @("qemu-system-x86_64", "QEMU, from https://www.qemu.org/download (or: winget install SoftwareFreedomConservancy.QEMU)"))) {
    if (-not (Get-Command $need[0] -ErrorAction SilentlyContinue)) {
        Write-Host "$($need[0]) is missing: install $($need[1]), then open a new window"
        exit 2
    }
}
Push-Location $PSScriptRoot
try {
    cargo xtask run @args
    exit $LASTEXITCODE
} finally {
    Pop-Location
}
