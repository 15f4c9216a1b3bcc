//! Reference programs for comparison, in a Python environment of their own: llama.cpp and its
//! server (built from the source inside PyPI's llama-cpp-python), the `gguf` package, and Jinja2.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use xtask::{
    setup,
    shell::{check, has, output, root},
};

/// Packages to install, with their versions.
const REQUIREMENTS: &str = include_str!("../../engine/tests/oracle/requirements.txt");

/// Options for building only llama.cpp's library and llama-server, for any x86-64 processor with
/// AVX2: the environment may be moved to another machine.
const BUILD: [&str; 15] = [
    "-GNinja",
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    // The libraries find each other wherever they are moved to.
    "-DCMAKE_BUILD_RPATH_USE_ORIGIN=ON",
    "-DGGML_NATIVE=OFF",
    "-DGGML_OPENMP=OFF",
    "-DLLAMA_BUILD_COMMON=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    // The server's page would be downloaded.
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
];

/// Name of llama.cpp's server, as a program and as what builds it.
const SERVER: &str = "llama-server";

/// Arguments of `cargo test` for the tests that use an oracle.
pub const TESTS: [&str; 18] = [
    "-p",
    "llama2-engine",
    "--test",
    "engine",
    "-p",
    "llama2-tensor",
    "--test",
    "gguf_package",
    "-p",
    "llama2-jinja",
    "--test",
    "jinja",
    "--",
    "llama_cpp",
    "gguf_package",
    "by_jinja2",
    "vocabularies",
    "--show-output",
];

/// A complete environment.
pub struct Oracle(PathBuf);

impl Oracle {
    /// Path of the environment for these versions, whether or not it exists: outside of the
    /// repository, so that `git clean` does not delete it.
    ///
    /// # Errors
    /// If there is no home folder.
    pub fn folder() -> Result<PathBuf> {
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME says where to build the oracles")?;
        let mut hash = Sha256::new();
        hash.update(REQUIREMENTS);
        for flag in BUILD {
            hash.update(flag);
        }
        let hash = hash.finalize();
        let name = hash[..6].iter().map(|byte| format!("{byte:02x}"));
        let name = format!("oracle-{}", name.collect::<String>());
        Ok(cache.join("llama2-efi").join(name))
    }

    /// Finds the environment, if it has been built.
    pub fn find() -> Option<Oracle> {
        let oracle = Oracle(Oracle::folder().ok()?);
        (oracle.whole().is_file() && output(oracle.python().arg("--version")).is_some())
            .then_some(oracle)
    }

    /// Builds the environment: about 150 MB of packages, and four minutes of one core.
    ///
    /// # Errors
    /// A sentence about what could not be downloaded, built or started; the next call starts again.
    pub fn build() -> Result<Oracle> {
        Oracle::build_with(&["llama"])
    }

    /// Finds or builds the environment with llama-server in it, for recording what that passes: a
    /// quarter of an hour more of one core.
    ///
    /// # Errors
    /// As [`Oracle::build`].
    pub fn with_server() -> Result<Oracle> {
        match Oracle::find() {
            Some(oracle) if oracle.server().is_file() => Ok(oracle),
            _ => Oracle::build_with(&["llama", SERVER]),
        }
    }

    /// Builds the environment with these parts of llama.cpp.
    fn build_with(parts: &[&str]) -> Result<Oracle> {
        for_building()?;
        let oracle = Oracle(Oracle::folder()?);
        let folder = &oracle.0;
        eprintln!("xtask: building the oracles in {}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        check(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(folder.join("venv")),
        )?;
        let (llama, others): (Vec<_>, Vec<_>) = REQUIREMENTS
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .partition(|line| line.starts_with("llama-cpp-python=="));
        check(
            oracle
                .pip("install")
                .args(["--only-binary", ":all:"])
                .args(others),
        )?;

        // The source has the templates and vocabularies, too, with which llama.cpp tests itself.
        let work = folder.join("work");
        let source = work.join("source");
        fs::create_dir_all(&source)?;
        // The build is done here; pip installs only the Python part.
        let python_only = "-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF";
        check(
            oracle
                .pip("download")
                .env("CMAKE_ARGS", python_only)
                .args(["--no-deps", "--no-binary", ":all:", "--no-build-isolation"])
                .arg("-d")
                .arg(&work)
                .args(llama),
        )?;
        let archive = fs::read_dir(&work)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|end| end == "gz"))
            .context("pip left no source of llama-cpp-python")?;
        check(
            Command::new("tar")
                .arg("-xzf")
                .arg(&archive)
                .arg("-C")
                .arg(&source)
                .arg("--strip-components=1"),
        )?;
        check(
            oracle
                .pip("install")
                .env("CMAKE_ARGS", python_only)
                .args(["--no-deps", "--no-build-isolation"])
                .arg(&source),
        )?;
        let llama = source.join("vendor/llama.cpp");
        let build = work.join("build");
        check(
            oracle
                .command("cmake")
                .arg("-S")
                .arg(&llama)
                .arg("-B")
                .arg(&build)
                .args(BUILD),
        )?;
        check(
            oracle
                .command("cmake")
                .arg("--build")
                .arg(&build)
                .arg("--target")
                .args(parts),
        )?;
        fs::rename(build.join("bin"), oracle.library())?;
        // Server tests look for templates in ../../../models.
        fs::create_dir_all(oracle.llama().join("tools/server"))?;
        for part in ["models", "tools/server/tests"] {
            fs::rename(llama.join(part), oracle.llama().join(part))?;
        }
        fs::remove_dir_all(&work)?;
        let mut python = oracle.python();
        python.args([
            "-c",
            "import gguf, jinja2, llama_cpp; llama_cpp.llama_backend_init()",
        ]);
        check(&mut python)?;
        fs::write(oracle.whole(), REQUIREMENTS)?;
        Ok(oracle)
    }

    /// Path of llama-server, where [`Oracle::with_server`] built it.
    pub fn server(&self) -> PathBuf {
        self.library().join(SERVER)
    }

    /// Folder of llama.cpp's own server tests.
    pub fn server_tests(&self) -> PathBuf {
        self.llama().join("tools/server/tests")
    }

    /// Environment variables that tell the tests how to call the programs. Tests run in `engine/`
    /// or `tensor/`.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        vec![
            ("PATH", format!("{}:{path}", text(self.programs()))),
            ("LLAMA_CPP_LIB_PATH", text(self.library())),
            ("LLAMA2_ORACLE", "python tests/llama_cpp/logits.py".into()),
            (
                "LLAMA2_ORACLE_TOKENS",
                "python tests/llama_cpp/tokens.py".into(),
            ),
            (
                "LLAMA2_ORACLE_REAL",
                "python tests/llama_cpp/real.py".into(),
            ),
            (
                "LLAMA2_GGUF",
                "python tests/gguf_package/dequantize.py".into(),
            ),
            ("LLAMA2_JINJA", "python tests/render.py".into()),
            ("LLAMA2_TEMPLATES", text(self.models().join("templates"))),
            // llama.cpp's own vocabularies: ggml-vocab-*.gguf.
            ("LLAMA2_VOCABULARIES", text(self.models())),
        ]
    }

    /// Path of the file that is written last.
    fn whole(&self) -> PathBuf {
        self.0.join("whole")
    }

    fn programs(&self) -> PathBuf {
        self.0.join("venv/bin")
    }

    fn library(&self) -> PathBuf {
        self.0.join("lib")
    }

    /// Folder of some of llama.cpp's files, each at its place in the source.
    fn llama(&self) -> PathBuf {
        self.0.join("llama.cpp")
    }

    /// Folder of the templates and vocabularies with which llama.cpp tests itself.
    pub fn models(&self) -> PathBuf {
        self.llama().join("models")
    }

    /// Command for one of the environment's programs.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs().join(program));
        command.envs(self.variables()).current_dir(root());
        command
    }

    /// Command for the environment's Python.
    pub fn python(&self) -> Command {
        self.command("python")
    }

    fn pip(&self, what: &str) -> Command {
        let mut pip = self.python();
        pip.args(["-m", "pip", what, "--quiet", "--disable-pip-version-check"]);
        pip
    }
}

/// Checks for a Python that can create environments, and a C++ compiler.
fn for_building() -> Result<()> {
    let mut missing = Vec::new();
    let works = |module: &str| {
        let mut python = Command::new("python3");
        output(python.args(["-c", &format!("import {module}")])).is_some()
    };
    if !works("venv, ensurepip") {
        missing.extend(["python3", "python3-venv"]);
    }
    if !has("c++") {
        missing.push("g++");
    }
    if !has("tar") {
        missing.push("tar");
    }
    setup::install(&missing, "building the oracles")?;
    if !works("venv, ensurepip") {
        bail!("the python3 of this system makes no environments (venv, ensurepip)");
    }
    Ok(())
}

/// Returns true in continuous integration.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_survives_a_clean_and_every_version_is_pinned() {
        if let Ok(folder) = Oracle::folder() {
            assert!(!folder.starts_with(root()));
        }
        let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            assert!(line.contains("=="), "{line}");
        }
    }
}
