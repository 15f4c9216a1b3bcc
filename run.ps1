# Builds llama2.efi and boots it in QEMU, on Windows. Any flags of `cargo xtask run` may follow: .\run.ps1 --memory 1G --model my.gguf
$ErrorActionPreference = "Stop"
$env:Path += ";$env:ProgramFiles\qemu"
foreach ($need in @(
        @("cargo", "Rust, from https://rustup.rs"),
        @("qemu-system-x86_64", "QEMU, from https://www.qemu.org/download (or: winget install SoftwareFreedomConservancy.QEMU)"))) {
    if (-not (Get-Command $need[0] -ErrorAction SilentlyContinue)) {
        Write-Host "$($need[0]) is not there: install $($need[1]), then open a new window"
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
