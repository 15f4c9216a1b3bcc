//! Worker pool on the processor's other cores, by the Platform Initialization specification's MP
//! Services, or else by switching them on and off (`arch::OtherCore`).
//!
//! The firmware takes 10 to 40 ms to call a core, so a core stays for a whole reply: it waits at
//! the [`WorkQueue`] for one job after another. Between replies the cores are returned to the
//! firmware, and they all are before the application ends.
//!
//! # Quirks
//! The specification allows firmware to refuse non-blocking calls once it boots the system (EDK2's
//! EmulatorPkg does, OVMF does not). Then the cores are called with a blocking call: *they* make
//! the reply, while the boot processor waits in the firmware and shows the reply from a timer's
//! interrupt.
//!
//! The order in which cores arrive differs from call to call, so a core's work depends on its
//! number.
//!
//! Most firmware of AArch64 has no MP Services. A core that is switched on comes by [`arrive_at`],
//! on a small stack, and is switched off where it would return to the firmware. One that does not
//! come is given up.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{
    ffi::c_void,
    fmt::{self, Write},
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use llama2_efi::{
    arch::{self, OtherCore},
    cores::{CoreChoice, DispatchMode, Processor, choose, words},
    options::Hook,
    stack::{Stacks, is_elsewhere},
    try_lock::TryLock,
    work_queue::{CoreTask, Leader, MOST, WorkQueue},
};
use llama2_engine::{kernels::Features, workers::Workers};
use uefi::{
    Event, Status,
    boot::{self, EventType, Tpl},
    proto::pi::mp::MpServices,
};

use super::{clock, global::Global, shell::open, tables, timer::Timer};

/// Milliseconds that cores may take to arrive, and to leave. A virtual machine with more cores than
/// its host has is slow.
const PATIENCE: u64 = 20_000;
/// Milliseconds after which a core that was switched on, and has not come, is given up.
const SWITCH_PATIENCE: u64 = 5_000;
/// Interval at which the boot processor looks at the others' output while it waits.
const TICK: Duration = Duration::from_millis(30);

/// Work of the cores that were called.
mod duty {
    /// Enable vectors and report features.
    pub const TELL: u8 = 0;
    /// Work together with the boot processor.
    pub const SERVE: u8 = 1;
    /// The first one leads, the others work with it.
    pub const LEAD: u8 = 2;
}

/// Function that ends the application with a message.
pub type Fail = fn(fmt::Arguments<'_>) -> !;

/// A core other than the boot processor.
struct Slot {
    /// Number assigned by the firmware.
    number: usize,
    /// Features, as of its last call.
    features: TryLock<Features>,
    came: AtomicBool,
}

/// Way of reaching the other cores.
enum Services {
    /// MP Services of the firmware.
    Mp(NonNull<MpServices>),
    /// Cores that are switched on, one for each slot.
    Switched(Vec<OtherCore>),
}

// Safety: the firmware keeps the protocol as long as it runs. The specification has WhoAmI be
// called on every core; `call_all`, the only other function, refuses all but the boot processor.
// Cores to be switched on may be shared.
unsafe impl Sync for Services {}

impl Services {
    /// Number of the core that this runs on, whichever it is, if firmware knows.
    fn who_am_i(&self) -> Option<usize> {
        match self {
            // Safety: the protocol exists, and this function of it may be called here.
            Services::Mp(services) => unsafe { services.as_ref() }.who_am_i().ok(),
            Services::Switched(_) => None,
        }
    }

    /// Makes all enabled cores call [`arrive`], or the first `invited` ones [`arrive_at`]; the
    /// latter, or with an event, returns at once.
    fn call_all(&self, invited: usize, event: Option<Event>) -> Result<(), Status> {
        if is_elsewhere() {
            return Err(Status::NOT_STARTED);
        }
        match self {
            Services::Mp(services) => {
                // Safety: the protocol exists, and this is the boot processor.
                let services = unsafe { services.as_ref() };
                let called = services.startup_all_aps(false, arrive, ptr::null_mut(), event, None);
                called.map_err(|error| error.status())
            }
            Services::Switched(cores) => {
                cores.iter().take(invited).for_each(OtherCore::switch_on);
                Ok(())
            }
        }
    }
}

/// The boot processor and the cores that work with it. What other cores access is atomic, or
/// locked, or only read.
pub struct ApPool {
    services: Option<Services>,
    slots: Vec<Slot>,
    /// Stacks, one for each slot.
    stacks: Stacks,
    mode: DispatchMode,
    choice: CoreChoice,
    wanted: Option<usize>,
    hook: Option<Hook>,
    fail: Fail,
    /// Features that all cores of the pool have.
    features: Features,
    queue: WorkQueue,
    duty: AtomicU8,
    /// Number of slots that are called; the others may stay in the firmware.
    invited: AtomicUsize,
    /// Signalled when all have returned to the firmware; present while they are called.
    event: Global<Option<Event>>,
    /// Number of parts of the last job.
    parts: AtomicUsize,
    jobs: AtomicU32,
    /// Number of processors that did not come when they were first called.
    lost: usize,
}

/// Active pool, for code that gets no reference to it: cores that arrive, and panics.
static POOL: AtomicPtr<ApPool> = AtomicPtr::new(ptr::null_mut());

/// Makes a pool the active one.
fn enlist(pool: Box<ApPool>) -> &'static ApPool {
    pool.stacks.announce();
    let pool = Box::into_raw(pool);
    POOL.store(pool, Release);
    // Safety: from a box, and only `recall`, whose callers know of no reference, makes it one
    // again.
    unsafe { &*pool }
}

/// Takes the pool back with its stacks. `None` if there is none, or if cores have not returned from
/// it.
///
/// # Safety
/// There are no references to the pool any more.
unsafe fn recall() -> Option<Box<ApPool>> {
    let pool = POOL.swap(ptr::null_mut(), Acquire);
    // Safety: null, or from `enlist`.
    let called = unsafe { pool.as_ref() }?.is_called();
    // Safety: from `enlist`'s box; by contract there are no references to it, and no core is in it.
    (!called).then(|| unsafe { Box::from_raw(pool) })
}

/// Frees the pool, if no core can still use it.
///
/// # Safety
/// There are no references to the pool any more.
pub unsafe fn discharge() {
    // Safety: as the caller says.
    drop(unsafe { recall() });
}

fn current() -> Option<&'static ApPool> {
    // Safety: null, or a pool that lives until `recall`, before which all cores have gone.
    unsafe { POOL.load(Acquire).as_ref() }
}

/// A text that is cut to a fixed size.
struct Cut {
    bytes: [u8; 400],
    len: usize,
}

/// Message of the first panic on another core.
static MESSAGE: TryLock<Cut> = TryLock::new(Cut {
    bytes: [0; 400],
    len: 0,
});

impl Write for Cut {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let piece = &piece[..piece.floor_char_boundary(self.bytes.len() - self.len)];
        self.bytes[self.len..][..piece.len()].copy_from_slice(piece.as_bytes());
        self.len += piece.len();
        Ok(())
    }
}

/// Stores a message, if it is the first.
fn leave_message(words: fmt::Arguments<'_>) {
    MESSAGE.with(|message| {
        if message.len == 0 {
            let _ = message.write_fmt(words);
        }
    });
}

/// Ends a panic on another core: all cores return to the firmware, and the boot processor will show
/// `words`. Returns on the boot processor only.
pub fn give_in(words: fmt::Arguments<'_>) {
    if let Some(pool) = current()
        && let Some(index) = pool.stacks.own()
    {
        leave_message(format_args!("core {}: {words}", pool.slots[index].number));
        pool.queue.break_up();
        // Safety: the queue is broken: cores are not called again, and `Fail` ends the
        // application once all have gone.
        unsafe { pool.stacks.leave() }
    }
}

/// Ends waiting at a broken queue: another core returns to the firmware, and the boot processor
/// shows the message.
extern "C" fn give_up() -> ! {
    let fail = current().map(|pool| {
        // Safety: as in `give_in`.
        unsafe { pool.stacks.leave() };
        pool.fail
    });
    let fail = |message: &str| match fail {
        Some(fail) => fail(format_args!(
            "error: internal error on {message}; please report it, with the model's name"
        )),
        None => panic!("no pool is at work, and one waits for it: {message}"),
    };
    // Another core that panics as well holds it for a moment, to see that it is not the first.
    for _ in 0..1000 {
        let had = MESSAGE.with(|message| {
            let said = core::str::from_utf8(&message.bytes[..message.len]).unwrap_or_default();
            if !said.is_empty() {
                fail(said);
            }
        });
        if had.is_some() {
            break;
        }
        core::hint::spin_loop();
    }
    fail("it did not say why")
}

/// Sends all cores back to the firmware, whatever they are doing: the application ends now.
pub fn stop() {
    let Some(pool) = current() else { return };
    pool.queue.break_up();
    pool.queue.dismiss(0);
    let start = clock::milliseconds();
    while pool.stacks.are_in_use() && clock::milliseconds() - start < PATIENCE {
        core::hint::spin_loop();
    }
    pool.see_off();
}

impl ApPool {
    /// Detects the cores and their features. The pool has at most `wanted` workers, or by default
    /// one per physical core.
    pub fn gather(wanted: Option<usize>, hook: Option<Hook>, fail: Fail) -> &'static ApPool {
        arch::switch_on_vectors();
        let handle = boot::get_handle_for_protocol::<MpServices>().ok();
        let services = handle.and_then(open::<MpServices>);
        let services = services.as_ref().and_then(|services| services.get());
        if let Some(services) = services.filter(|_| hook == Some(Hook::Disabled)) {
            for processor in list(services).iter().filter(|processor| !processor.is_boot) {
                let _ = services.enable_disable_ap(processor.number, false, None);
            }
        }
        let mut processors = services.map(list).unwrap_or_default();
        // Firmware without MP Services may still tell how to switch cores on.
        let switchable = match processors.len() {
            0 | 1 => tables::cores(),
            _ => None,
        };
        if let Some(cores) = &switchable {
            processors = cores.processors(arch::core_id());
        }
        if processors.is_empty() {
            let why = "the firmware reports no others";
            return ApPool::alone(choose(&[], wanted), wanted, why.into(), fail);
        }
        processors.truncate(MOST / 2);
        let blocks = matches!(hook, Some(Hook::Blocking | Hook::BlockingPanic));
        let mut blocking = blocks && switchable.is_none();
        let mut lost = 0;
        loop {
            // The boot processor does not count if it only shows the text.
            let choice = choose(&processors, wanted.map(|n| n + usize::from(blocking)));
            if wanted == Some(1) || choice.others.is_empty() {
                let why = match (wanted, choice.all) {
                    (Some(1), _) => "",
                    (_, 1) => "there are no others",
                    _ if lost > 0 => "the others did not come",
                    _ => "no other is enabled",
                };
                return ApPool::alone(choice, wanted, why.into(), fail);
            }
            let mode = if blocking {
                DispatchMode::Elsewhere
            } else {
                DispatchMode::Together
            };
            let services = match (&switchable, services) {
                (Some(cores), _) => {
                    let core = |(index, &number): (usize, &usize)| {
                        OtherCore::new(cores.conduit, cores.ids[number], arrive_at, index)
                    };
                    let others = choice.others.iter().enumerate().map(core);
                    Some(Services::Switched(others.collect()))
                }
                (None, services) => services.map(|services| Services::Mp(services.into())),
            };
            let pool = ApPool::new(services, mode, choice, wanted, hook, fail);
            let asked = enlist(pool).ask();
            // Safety: the reference that `enlist` returned is no longer used anywhere.
            let pool = unsafe { recall() };
            let status = match (asked, pool) {
                (Ok(()), Some(mut pool)) => {
                    let missing = pool.missing();
                    if missing.is_empty() {
                        for slot in &pool.slots {
                            pool.features = pool.features.intersect(slot.features());
                        }
                        pool.lost = lost;
                        return enlist(pool);
                    }
                    // A core that firmware counts, but that does not arrive, is left out.
                    lost += missing.len();
                    for processor in &mut processors {
                        processor.usable &= !missing.contains(&processor.number);
                    }
                    continue;
                }
                (Err(Status::UNSUPPORTED), _) if !blocking => {
                    blocking = true;
                    continue;
                }
                (Err(status), _) => status,
                (Ok(()), None) => Status::TIMEOUT,
            };
            let why = match status {
                Status::NOT_STARTED => "no other is enabled".into(),
                Status::NOT_READY => "the others are busy".into(),
                Status::TIMEOUT => "the others do not return".into(),
                other => format!("the firmware refuses the others: {other:?}"),
            };
            return ApPool::alone(choose(&processors, wanted), wanted, why, fail);
        }
    }

    fn new(
        services: Option<Services>,
        mode: DispatchMode,
        choice: CoreChoice,
        wanted: Option<usize>,
        hook: Option<Hook>,
        fail: Fail,
    ) -> Box<ApPool> {
        let others: &[usize] = match services {
            Some(_) => &choice.others,
            None => &[],
        };
        let slots: Vec<Slot> = others.iter().map(|&number| Slot::new(number)).collect();
        Box::new(ApPool {
            services,
            stacks: Stacks::new(slots.len()),
            queue: WorkQueue::new(1 + slots.len(), give_up),
            slots,
            mode,
            choice,
            wanted,
            hook,
            fail,
            features: Features::of_this_core(),
            duty: AtomicU8::new(duty::TELL),
            invited: AtomicUsize::new(0),
            event: Global::new(None),
            parts: AtomicUsize::new(0),
            jobs: AtomicU32::new(0),
            lost: 0,
        })
    }

    fn alone(
        choice: CoreChoice,
        wanted: Option<usize>,
        why: String,
        fail: Fail,
    ) -> &'static ApPool {
        let mode = DispatchMode::Alone(why);
        enlist(ApPool::new(None, mode, choice, wanted, None, fail))
    }

    /// Features that all cores of the pool have.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Way in which the others are called.
    pub fn mode(&self) -> &DispatchMode {
        &self.mode
    }

    /// Description for the banner.
    pub fn words(&self) -> String {
        let mut words = words(&self.mode, &self.choice, self.count(), self.wanted);
        if self.lost > 0 {
            let _ = write!(words, "; {} did not come", self.lost);
        }
        words
    }

    /// Does not return if a core has panicked. To be called while waiting for anything but the
    /// pool.
    pub fn check(&self) {
        self.queue.check();
    }

    /// Calls every core once to report its features.
    fn ask(&self) -> Result<(), Status> {
        if self.mode == DispatchMode::Elsewhere {
            return self.call(duty::TELL, self.slots.len(), None);
        }
        self.call_and_return(duty::TELL, self.slots.len())?;
        if self.see_off() {
            Ok(())
        } else {
            Err(Status::TIMEOUT)
        }
    }

    /// Numbers of the cores that did not arrive at the last call.
    fn missing(&self) -> Vec<usize> {
        let missing = |slot: &&Slot| !slot.came.load(Acquire);
        let missing = self.slots.iter().filter(missing);
        missing.map(|slot| slot.number).collect()
    }

    /// Calls the first `invited` cores. With an event, returns at once; without, when all have
    /// returned.
    fn call(&self, duty: u8, invited: usize, event: Option<&Event>) -> Result<(), Status> {
        let services = self.services.as_ref().ok_or(Status::NOT_STARTED)?;
        // As if they did not come.
        let invited = match (services, self.hook) {
            (Services::Switched(_), Some(Hook::Disabled)) => 0,
            _ => invited,
        };
        self.duty.store(duty, Relaxed);
        self.invited.store(invited, Relaxed);
        for slot in &self.slots {
            slot.came.store(false, Relaxed);
        }
        let start = clock::milliseconds();
        loop {
            // Safety: closed by its owner when it has been signalled, not through this copy.
            let event = event.map(|event| unsafe { event.unsafe_clone() });
            match services.call_all(invited, event) {
                // Another call may be in progress.
                Err(Status::NOT_READY) if clock::milliseconds() - start < 2_000 => {
                    boot::stall(Duration::from_millis(10));
                }
                called => return called,
            }
        }
    }

    /// Calls the first `invited` cores and returns at once.
    fn call_and_return(&self, duty: u8, invited: usize) -> Result<(), Status> {
        if self.switched().is_some() {
            return self.call(duty, invited, None);
        }
        // Safety: there is no function to be called.
        let event = unsafe { boot::create_event(EventType::empty(), Tpl::APPLICATION, None, None) };
        let event = event.map_err(|error| error.status())?;
        let called = self.call(duty, invited, Some(&event));
        match called {
            Ok(()) => {
                self.event.with(|place| *place = Some(event));
            }
            Err(_) => {
                let _ = boot::close_event(event);
            }
        }
        called
    }

    /// Cores that are switched on, if that is how they are reached.
    fn switched(&self) -> Option<&[OtherCore]> {
        match &self.services {
            Some(Services::Switched(cores)) => Some(cores),
            _ => None,
        }
    }

    /// Returns true from the call of the cores until they have been seen off.
    fn is_called(&self) -> bool {
        match self.switched() {
            Some(cores) => cores.iter().any(OtherCore::is_called),
            None => self.event.with(|event| event.is_some()) != Some(false),
        }
    }

    /// Waits until all cores, which must be leaving, have returned to the firmware. Returns false
    /// if they take too long.
    fn see_off(&self) -> bool {
        if let Some(cores) = self.switched() {
            return see_switched_off(cores);
        }
        let Some(event) = self.event.with(Option::take).flatten() else {
            return true;
        };
        let start = clock::milliseconds();
        loop {
            if boot::check_event(&event) != Ok(false) {
                let _ = boot::close_event(event);
                return true;
            }
            if clock::milliseconds() - start >= PATIENCE {
                // The firmware may still signal it: it must stay.
                self.event.with(|place| *place = Some(event));
                return false;
            }
            boot::stall(Duration::from_micros(200));
        }
    }

    /// Ensures that `count` workers are here, including the boot processor.
    fn hold(&self, leader: &mut Leader<'_>, count: usize) {
        let here = if self.is_called() {
            self.queue.staying().max(1)
        } else {
            1
        };
        if count < here {
            // They would only take the others' time, on a machine with fewer cores than it shows.
            self.queue.dismiss(count);
        }
        if count <= here {
            return;
        }
        self.rest();
        leader.open(count);
        if let Err(status) = self.call_and_return(duty::SERVE, count - 1) {
            (self.fail)(format_args!(
                "error: the firmware no longer starts the other cores ({status:?}); set threads = 1"
            ));
        }
        let start = clock::milliseconds();
        while self.queue.arrived() < count - 1 {
            self.queue.check();
            if clock::milliseconds() - start > PATIENCE {
                (self.fail)(format_args!(
                    "error: only {} of {} other cores came when they were called; set threads = 1",
                    self.queue.arrived(),
                    count - 1
                ));
            }
            core::hint::spin_loop();
        }
    }

    /// Returns the cores to the firmware until the next pass needs them.
    pub fn rest(&self) {
        self.queue.dismiss(0);
        let gone = self.see_off();
        self.look_at_stacks();
        if !gone {
            (self.fail)(format_args!(
                "error: the firmware did not get its cores back; switch the machine off, and set threads = 1"
            ));
        }
    }

    fn look_at_stacks(&self) {
        if let Some(index) = self.stacks.overflowed() {
            panic!(
                "the stack of core {} was too small",
                self.slots[index].number
            );
        }
    }

    /// Calls `work` on another core with `threads` workers, for firmware where the boot processor
    /// cannot work itself. Meanwhile an interrupt calls `tick` on the boot processor, every
    /// [`TICK`].
    ///
    /// # Errors
    /// If no core came to do the work, which was then not begun.
    pub fn elsewhere(
        &self,
        threads: usize,
        work: CoreTask<'_>,
        tick: &mut dyn FnMut(),
    ) -> Result<(), String> {
        self.parts.store(0, Relaxed);
        let threads = threads.clamp(1, self.slots.len());
        self.leader().open(threads);
        let mut called = Ok(());
        let worked = self.queue.delegate(work, || {
            let mut watch = Watch {
                pool: self,
                threads,
                since: clock::milliseconds(),
                tick,
            };
            let context = NonNull::from(&mut watch).cast();
            // Safety: `watch` lives until the timer is dropped, and only `on_tick` accesses it.
            let timer = unsafe { Timer::every(TICK, on_tick, Some(context)) };
            // Without a timer all is shown at the end.
            called = self.call(duty::LEAD, threads, None);
            drop(timer);
        });
        self.queue.check();
        self.look_at_stacks();
        if worked {
            return Ok(());
        }
        Err(match called {
            Ok(()) => "the other cores did not come".into(),
            Err(status) => format!("the firmware does not start the other cores ({status:?})"),
        })
    }

    fn leader(&self) -> Leader<'_> {
        let leader = self.queue.lead();
        leader.expect("the cores of a pool are led by one at a time")
    }
}

// Safety: a reply is led by one core, and every part of it is another core's, which `WorkQueue`
// waits for; `wait` looks at the word before it returns.
unsafe impl Workers for ApPool {
    fn count(&self) -> usize {
        match self.mode {
            DispatchMode::Alone(_) => 1,
            DispatchMode::Together => 1 + self.slots.len(),
            DispatchMode::Elsewhere => self.slots.len().max(1),
        }
    }

    fn at_hand(&self) -> usize {
        match self.mode {
            // Cores that have left return only with the next reply.
            DispatchMode::Elsewhere => self.queue.staying().max(1),
            _ => self.count(),
        }
    }

    fn run(&self, parts: usize, f: &(dyn Fn(usize) + Sync)) {
        let mut leader = self.leader();
        match self.mode {
            DispatchMode::Alone(_) => return f(0),
            DispatchMode::Together => self.hold(&mut leader, parts),
            DispatchMode::Elsewhere => {
                // Fewer than before: it has been found out how many are best.
                if parts < self.parts.swap(parts, Relaxed) {
                    self.queue.dismiss(parts);
                }
            }
        }
        let panics = cfg!(feature = "test-hooks")
            && matches!(self.hook, Some(Hook::Panic | Hook::BlockingPanic))
            && (parts > 1 || self.mode == DispatchMode::Elsewhere)
            && self.jobs.fetch_add(1, Relaxed) == 20;
        let ran = if panics {
            leader.run(parts, &|part| {
                assert!(part + 1 < parts, "this is what the test asks for");
                f(part);
            })
        } else {
            leader.run(parts, f)
        };
        if !ran {
            self.queue.check();
            panic!("nobody is here");
        }
        arch::rest_vectors(self.features);
    }

    fn wait(&self, word: &AtomicU32, seen: u32) {
        self.queue.wait(word, seen);
    }
}

impl Slot {
    fn new(number: usize) -> Slot {
        Slot {
            number,
            features: TryLock::new(Features::BASE),
            came: AtomicBool::new(false),
        }
    }

    fn features(&self) -> Features {
        let told = self.features.with(|features| *features);
        told.unwrap_or(Features::BASE)
    }
}

/// Waits until all cores, which must be leaving, are off. Returns false if they take too long.
fn see_switched_off(cores: &[OtherCore]) -> bool {
    let start = clock::milliseconds();
    loop {
        if cores.iter().all(OtherCore::is_off) {
            return true;
        }
        let took = clock::milliseconds() - start;
        if took >= PATIENCE {
            return false;
        }
        if took >= SWITCH_PATIENCE {
            cores.iter().for_each(OtherCore::give_up);
        }
        boot::stall(Duration::from_micros(200));
    }
}

/// Processors reported by the firmware.
fn list(services: &MpServices) -> Vec<Processor> {
    let count = services.get_number_of_processors();
    let count = count.map_or(0, |count| count.total);
    let processor = |number| {
        let info = services.get_processor_info(number).ok()?;
        Some(Processor {
            number,
            is_boot: info.is_bsp(),
            usable: info.is_enabled() && info.is_healthy(),
            place: (
                info.location.package,
                info.location.core,
                info.location.thread,
            ),
        })
    };
    (0..count).filter_map(processor).collect()
}

/// Call of one core.
struct Visit {
    pool: &'static ApPool,
    index: usize,
}

/// Called by the firmware on every enabled core.
extern "efiapi" fn arrive(_: *mut c_void) {
    let Some(pool) = current() else { return };
    let Some(number) = pool.services.as_ref().and_then(Services::who_am_i) else {
        return;
    };
    let invited = pool.slots.iter().take(pool.invited.load(Relaxed));
    if let Some(index) = invited.into_iter().position(|slot| slot.number == number) {
        visit(pool, index);
    }
}

/// Called on the core of this slot that was switched on.
extern "C" fn arrive_at(index: usize) {
    if let Some(pool) = current() {
        visit(pool, index);
    }
}

/// Has a core work on the stack of its slot.
fn visit(pool: &'static ApPool, index: usize) {
    pool.stacks.call(index, attend, &Visit { pool, index });
    arch::rest_vectors(pool.slots[index].features());
}

/// Does a core's work, on a stack of its own.
extern "efiapi" fn attend(visit: &Visit) {
    let &Visit { pool, index } = visit;
    let slot = &pool.slots[index];
    arch::switch_on_vectors();
    let features = Features::of_this_core();
    slot.features.with(|told| *told = features);
    slot.came.store(true, Release);
    // Checked each time, because the firmware may have reset the core.
    let able = features.intersect(pool.features) == pool.features;
    match pool.duty.load(Relaxed) {
        duty::SERVE if able => pool.queue.serve(index + 1),
        duty::LEAD if index == 0 => {
            if able {
                pool.queue.take_work();
            }
            pool.queue.dismiss(0);
        }
        duty::LEAD if able => pool.queue.serve(index),
        _ => (),
    }
}

/// State of the boot processor while it waits in the firmware.
struct Watch<'a> {
    pool: &'a ApPool,
    threads: usize,
    since: u64,
    tick: &'a mut dyn FnMut(),
}

/// Calls [`Watch::tick`], and ensures that nothing waits for a core that does not arrive.
unsafe extern "efiapi" fn on_tick(_event: Event, context: Option<NonNull<c_void>>) {
    let Some(mut context) = context.map(NonNull::cast::<Watch<'_>>) else {
        return;
    };
    // Safety: `elsewhere` passes its own, which nothing else accesses until the timer is stopped.
    let watch = unsafe { context.as_mut() };
    let queue = &watch.pool.queue;
    let leads = watch.pool.slots[0].came.load(Acquire);
    let all = leads && queue.arrived() + 1 >= queue.staying().min(watch.threads);
    if !all && clock::milliseconds() - watch.since > PATIENCE {
        // A leader that arrives now finds no work. One that has taken it waits for those that do
        // not arrive.
        if !queue.withdraw() && leads {
            leave_message(format_args!(
                "cores that did not come when they were called"
            ));
            queue.break_up();
        }
        queue.dismiss(0);
    }
    (watch.tick)();
}
