//! Choice of the processors that work: one thread per physical core, unless more are requested.

use alloc::{format, string::String, vec::Vec};

/// Processor as described by the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor {
    /// Number assigned by the firmware.
    pub number: usize,
    /// True for the processor that the application runs on.
    pub is_boot: bool,
    /// True if it is enabled and healthy.
    pub usable: bool,
    /// Numbers of the package, of the core in it, and of the thread in that.
    pub place: (u32, u32, u32),
}

/// Instruction by which a core asks the firmware below UEFI for something (Arm's PSCI).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduit {
    /// A call of a hypervisor, or of what stands for one.
    Hvc,
    /// A call of secure firmware.
    Smc,
}

/// Cores that can be switched on one by one (Arm's PSCI), where firmware has no MP Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchableCores {
    /// Way of asking for it.
    pub conduit: Conduit,
    /// Affinities of all cores (MPIDR_EL1), with the boot processor's.
    pub ids: Vec<u64>,
}

impl SwitchableCores {
    /// The cores as processors, of which `boot` is the boot processor's affinity; empty if that is
    /// none of them. Which of them are threads of one core is not known.
    pub fn processors(&self, boot: u64) -> Vec<Processor> {
        if !self.ids.contains(&boot) {
            return Vec::new();
        }
        // A core that is listed twice is switched on once.
        let is_first = |(number, id): &(usize, &u64)| !self.ids[..*number].contains(id);
        let processor = |(number, &id): (usize, &u64)| Processor {
            number,
            is_boot: id == boot,
            usable: true,
            place: (0, number as u32, 0),
        };
        let all = self.ids.iter().enumerate();
        all.filter(is_first).map(processor).collect()
    }
}

/// Processors that work in addition to the boot processor.
#[derive(Debug, PartialEq, Eq)]
pub struct CoreChoice {
    /// Their numbers: other physical cores first, then second threads of cores.
    pub others: Vec<usize>,
    /// Number of usable physical cores, including the boot processor's.
    pub cores: usize,
    /// Number of usable processors.
    pub usable: usize,
    /// Number of all processors.
    pub all: usize,
}

/// Chooses at most `wanted` workers, including the boot processor; `None` means one per physical
/// core.
///
/// # Quirks
/// If firmware reports the same location for two processors, it does not know their locations: each
/// then counts as a core.
pub fn choose(processors: &[Processor], wanted: Option<usize>) -> CoreChoice {
    let usable: Vec<&Processor> = processors
        .iter()
        .filter(|processor| processor.usable || processor.is_boot)
        .collect();
    let mut places: Vec<_> = usable.iter().map(|processor| processor.place).collect();
    places.sort_unstable();
    let known = places.windows(2).all(|pair| pair[0] != pair[1]);
    let core = |processor: &Processor| {
        if known {
            (processor.place.0, processor.place.1 as usize)
        } else {
            (0, processor.number)
        }
    };
    let mut seen: Vec<_> = usable
        .iter()
        .filter(|processor| processor.is_boot)
        .map(|processor| core(processor))
        .collect();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for processor in usable.iter().filter(|processor| !processor.is_boot) {
        if seen.contains(&core(processor)) {
            second.push(processor.number);
        } else {
            seen.push(core(processor));
            first.push(processor.number);
        }
    }
    let cores = first.len() + 1;
    let wanted = wanted.unwrap_or(cores).max(1);
    let mut others = first;
    others.extend(second);
    others.truncate(wanted - 1);
    CoreChoice {
        others,
        cores,
        usable: usable.len().max(1),
        all: processors.len().max(1),
    }
}

/// Way in which the workers are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DispatchMode {
    /// The boot processor works alone, for this reason.
    Alone(String),
    /// The others work together with the boot processor.
    Together,
    /// The others work while the boot processor waits and shows the results.
    Elsewhere,
}

/// Description of the cores for the banner.
pub fn words(
    mode: &DispatchMode,
    choice: &CoreChoice,
    workers: usize,
    wanted: Option<usize>,
) -> String {
    let all = choice.all;
    let upto = if wanted.is_some() { "" } else { "up to " };
    let mut words = match mode {
        DispatchMode::Alone(why) if why.is_empty() => format!("1 of {all} used"),
        DispatchMode::Alone(why) => format!("1 of {all} used ({why})"),
        DispatchMode::Together => format!("{upto}{workers} of {all} used"),
        DispatchMode::Elsewhere => {
            format!("{upto}{workers} of {all} used, and the first one to show the results")
        }
    };
    if wanted.is_none() && choice.cores < choice.usable && !matches!(mode, DispatchMode::Alone(_)) {
        words.push_str("; one thread of each core");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(places: &[(u32, u32, u32)]) -> Vec<Processor> {
        let processor = |(number, &place)| Processor {
            number,
            is_boot: number == 0,
            usable: true,
            place,
        };
        places.iter().enumerate().map(processor).collect()
    }

    #[test]
    fn one_thread_a_core_unless_more_are_wanted() {
        let two_threads = machine(&[
            (0, 0, 0),
            (0, 0, 1),
            (0, 1, 0),
            (0, 1, 1),
            (1, 0, 0),
            (1, 0, 1),
        ]);
        let others = |wanted| choose(&two_threads, wanted).others;
        assert_eq!(others(None), [2, 4]);
        assert_eq!(others(Some(1)), [0usize; 0]);
        assert_eq!(others(Some(2)), [2]);
        assert_eq!(others(Some(4)), [2, 4, 1]);
        assert_eq!(others(Some(100)), [2, 4, 1, 3, 5]);
        let choice = choose(&two_threads, None);
        assert_eq!((choice.cores, choice.usable, choice.all), (3, 6, 6));
    }

    #[test]
    fn only_usable_processors_work() {
        let mut four = machine(&[(0, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0)]);
        four[1].usable = false;
        assert_eq!(choose(&four, None).others, [2, 3]);
        for processor in &mut four {
            processor.usable = false;
        }
        let alone = choose(&four, Some(4));
        assert_eq!((alone.others.len(), alone.usable, alone.all), (0, 1, 4));
        assert_eq!(choose(&[], None).all, 1);
    }

    #[test]
    fn places_that_cannot_be_true_are_not_believed() {
        let nowhere = machine(&[(0, 0, 0); 4]);
        assert_eq!(choose(&nowhere, None).others, [1, 2, 3]);
        let doubled = machine(&[(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 0)]);
        assert_eq!(choose(&doubled, None).others, [1, 2, 3]);
    }

    #[test]
    fn cores_to_switch_on_are_the_boot_processors_machine() {
        let cores = SwitchableCores {
            conduit: Conduit::Smc,
            ids: vec![0x100, 0x101, 0, 0x100],
        };
        let processors = cores.processors(0x101);
        assert_eq!(choose(&processors, None).others, [0, 2]);
        assert_eq!(cores.processors(7), []);
    }

    #[test]
    fn what_the_banner_says() {
        let four = machine(&[(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)]);
        let say = |mode: &DispatchMode, wanted| {
            let choice = choose(&four, wanted);
            words(mode, &choice, choice.others.len() + 1, wanted)
        };
        assert_eq!(
            say(&DispatchMode::Together, None),
            "up to 2 of 4 used; one thread of each core"
        );
        assert_eq!(
            say(&DispatchMode::Alone(String::new()), Some(1)),
            "1 of 4 used"
        );
        assert_eq!(say(&DispatchMode::Together, Some(4)), "4 of 4 used");
        assert_eq!(
            say(
                &DispatchMode::Alone("the firmware has no MP Services".into()),
                None
            ),
            "1 of 4 used (the firmware has no MP Services)"
        );
    }
}
