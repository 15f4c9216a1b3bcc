//! Kernels, threads and KV cache, from the command line's options.

use std::{sync::OnceLock, time::Instant};

use llama2_app::bench::Computing;
use llama2_engine::{
    context::Context,
    kernels::{self, Features, Kernels},
    session::{KvType, Options},
    settings::{kv_type, speculation},
    speculation::Speculation,
    thread_tuner,
    units::Quoted,
    workers::Workers,
};

use llama2_settings::{Overrides, Param};

use crate::{
    failure::{Failure, say},
    threads::ThreadPool,
};

/// Largest number of threads.
pub const MOST_THREADS: usize = 255;

/// Nanoseconds since the first call.
pub fn nanoseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The processor's name, where the system tells (Linux).
pub fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// One for each physical core that this process may use.
pub fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    allowed.min(physical_cores().unwrap_or(allowed))
}

/// Number of distinct pairs of package and core, if the system reports them (Linux).
fn physical_cores() -> Option<usize> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut cores = std::collections::BTreeSet::new();
    let mut package = "";
    for line in info.lines() {
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.trim() {
            "physical id" => package = value.trim(),
            "core id" => drop(cores.insert((package, value.trim()))),
            _ => (),
        }
    }
    Some(cores.len()).filter(|&cores| cores > 0)
}

/// Kernels of this name, or the best ones that this machine supports.
pub fn kernels(name: Option<&str>) -> Result<&'static Kernels, Failure> {
    let features = Features::of_this_core();
    match name {
        Some(name) => kernels::named(&name.to_lowercase(), features)
            .map_err(|error| Failure::Usage(format!("--kernels {}: {error}", Quoted(name)))),
        None => Ok(kernels::best(features)),
    }
}

/// Workers, and options for sessions.
pub struct Machine {
    pub threads: ThreadPool,
    kernels: &'static Kernels,
    count: thread_tuner::Threads,
    pub kv: KvType,
    speculation: Speculation,
}

impl Machine {
    /// Starts the threads.
    pub fn new(options: &Overrides) -> Result<Machine, Failure> {
        let kernels = kernels(options.text(Param::Kernels))?;
        let wanted = options.count(Param::Threads);
        if let Some(wanted) = wanted.filter(|&wanted| wanted > MOST_THREADS) {
            say(format_args!(
                "llama2: {wanted} threads are more than can be used: taking {MOST_THREADS}"
            ));
        }
        let (workers, count) = match wanted.map(|wanted| wanted.min(MOST_THREADS)) {
            Some(count) => (count, thread_tuner::Threads::Fixed(count)),
            None => (
                default_threads(),
                thread_tuner::Threads::Calibrate(nanoseconds),
            ),
        };
        Ok(Machine {
            threads: ThreadPool::new(workers),
            kernels,
            count,
            kv: kv_type(options),
            speculation: speculation(options, nanoseconds),
        })
    }

    /// Creates a machine with this number of threads.
    pub fn with(kernels: &'static Kernels, threads: usize, kv: KvType) -> Machine {
        Machine {
            threads: ThreadPool::new(threads),
            kernels,
            count: thread_tuner::Threads::Fixed(threads),
            kv,
            speculation: Speculation::Off,
        }
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.threads.count()
    }

    /// Arithmetic for sessions and benchmarks.
    pub fn computing(&self) -> Computing<'_> {
        Computing {
            options: Options {
                positions: None,
                sequences: 1,
                speculation: self.speculation,
                kernels: self.kernels,
                workers: &self.threads,
                threads: self.count,
                kv: self.kv,
            },
            bench_workers: &self.threads,
            features: Features::of_this_core(),
            nanoseconds,
        }
    }

    /// Options for a session in `context`.
    pub fn options(&self, context: &Context) -> Options<'_> {
        Options {
            positions: Some(context.positions()),
            ..self.computing().options
        }
    }
}
