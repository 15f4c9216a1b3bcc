//! The processor's other cores, by the Platform Initialization specification's MP Services.
//!
//! Calling a core takes the firmware 10 to 40 ms, so it stays for a whole reply: it waits at the crew's [`Post`] for one job
//! after another. Between replies the cores are the firmware's again, and before the application ends all are back.
//!
//! # Quirks
//! The specification lets firmware refuse calls that return at once when it has got as far as booting (EDK2's EmulatorPkg
//! does, OVMF does not). Then the cores are called with a call that returns when all are done: the reply is made on one of
//! *them*, and the boot processor, which waits in the firmware, shows it from a timer's interrupt.
//!
//! The order in which cores arrive differs from call to call: what a core does goes by its number.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{
    cell::{Cell, UnsafeCell},
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
    cores::{Choice, Processor, Way, choose, words},
    crew::{MOST, Post},
    options::Hook,
};
use llama2_engine::{kernels::Features, workers::Workers};
use uefi::{
    Event, Status,
    boot::{self, EventType, TimerTrigger, Tpl},
    proto::pi::mp::MpServices,
};

use super::{clock, cpu, global::Global, panic, shell::open, stack::Stack};

/// Milliseconds that cores may take to come, and to go. A machine with fewer real cores than it shows takes its time.
const PATIENCE: u64 = 20_000;
/// Between two looks of the boot processor at what the others make, where it only shows it.
const TICK: Duration = Duration::from_millis(30);

/// What those who come are to do.
mod duty {
    /// Switch their vectors on and tell what they have.
    pub const TELL: u8 = 0;
    /// Work beside the boot processor.
    pub const SERVE: u8 = 1;
    /// The first leads, the others work beside it.
    pub const LEAD: u8 = 2;
}

/// A core other than the boot processor.
struct Slot {
    /// The firmware's number of it.
    number: usize,
    stack: Stack,
    /// What it has, as of its last visit.
    features: Cell<Features>,
    came: AtomicBool,
    inside: AtomicBool,
}

/// Work for the core that leads.
type Work<'a> = &'a mut dyn FnMut();

/// The boot processor and the cores that work with it.
pub struct Crew {
    services: Option<NonNull<MpServices>>,
    slots: Vec<Slot>,
    way: Way,
    choice: Choice,
    wanted: Option<usize>,
    hook: Option<Hook>,
    /// What each core of the crew has.
    features: Cell<Features>,
    post: Post,
    duty: AtomicU8,
    /// Slots below this number are called, the others may stay where they are.
    invited: AtomicUsize,
    /// Signalled when all have gone back to the firmware; there while they are called.
    event: Global<Option<Event>>,
    /// What the leading core is to do.
    work: UnsafeCell<Option<Work<'static>>>,
    worked: AtomicBool,
    /// Parts of the last job.
    parts: AtomicUsize,
    jobs: AtomicU32,
}

// Safety: other cores touch the atomics, the post, and what is under them: each its own slot, the leading one `work`, which the
// boot processor leaves alone meanwhile. `services` is called on other cores for the one function that may be.
unsafe impl Sync for Crew {}

/// The crew that is at work, for whoever has only an address: interrupts, panics, the allocator.
static CREW: AtomicPtr<Crew> = AtomicPtr::new(ptr::null_mut());

/// Makes a crew the one that is at work.
fn enlist(crew: Crew) -> &'static Crew {
    let crew = Box::leak(Box::new(crew));
    CREW.store(crew, Release);
    crew
}

/// Gives the memory of the crew back, its stacks above all, once nobody is there who could use it.
///
/// # Safety
/// Nobody has a reference to the crew any more.
pub unsafe fn discharge() {
    let crew = CREW.swap(ptr::null_mut(), Release);
    // Safety: null, or from `enlist`.
    let called = unsafe { crew.as_ref() }.is_some_and(|crew| {
        // Cores that have not come back are on these stacks.
        crew.event.with(|event| event.is_some()) != Some(false)
    });
    if !crew.is_null() && !called {
        // Safety: from `enlist`'s box; by contract nobody refers to it, and no core is in it.
        drop(unsafe { Box::from_raw(crew) });
    }
}

fn current() -> Option<&'static Crew> {
    // Safety: null, or a crew that lives until `discharge`.
    unsafe { CREW.load(Acquire).as_ref() }
}

/// What the last panic on another core said.
struct Message {
    /// 0: nothing; 1: being written; 2: there.
    state: AtomicU8,
    text: UnsafeCell<([u8; 400], usize)>,
}

// Safety: whoever moves `state` from 0 to 1 writes; it is read when `state` is 2.
unsafe impl Sync for Message {}

static MESSAGE: Message = Message {
    state: AtomicU8::new(0),
    text: UnsafeCell::new(([0; 400], 0)),
};

impl Message {
    fn put(&self, words: fmt::Arguments<'_>) {
        struct Cut<'a>(&'a mut ([u8; 400], usize));
        impl Write for Cut<'_> {
            fn write_str(&mut self, piece: &str) -> fmt::Result {
                let (bytes, len) = self.0;
                let piece = &piece[..piece.floor_char_boundary(bytes.len() - *len)];
                bytes[*len..*len + piece.len()].copy_from_slice(piece.as_bytes());
                *len += piece.len();
                Ok(())
            }
        }
        if self.state.compare_exchange(0, 1, Acquire, Relaxed).is_ok() {
            // Safety: nobody else has moved the state from 0.
            let _ = Cut(unsafe { &mut *self.text.get() }).write_fmt(words);
            self.state.store(2, Release);
        }
    }

    fn get(&self) -> &str {
        if self.state.load(Acquire) != 2 {
            return "it did not say why";
        }
        // Safety: it is written, and nobody writes it again.
        let (bytes, len) = unsafe { &*self.text.get() };
        core::str::from_utf8(&bytes[..*len]).unwrap_or_default()
    }
}

/// Whether the caller runs on another core than the boot processor, where it may call no firmware.
pub fn is_elsewhere() -> bool {
    own_slot().is_some()
}

fn own_slot() -> Option<&'static Slot> {
    let crew = current()?;
    crew.slots.iter().find(|slot| slot.stack.is_under_us())
}

/// The end of a panic on another core: everybody goes back to the firmware, and the boot processor will show `words`. Returns
/// on the boot processor only.
pub fn give_in(words: fmt::Arguments<'_>) {
    if let (Some(crew), Some(slot)) = (current(), own_slot()) {
        MESSAGE.put(format_args!("core {}: {words}", slot.number));
        crew.post.break_up();
        // Safety: the caller is on this stack, and the post is broken: nobody waits for anything any more.
        unsafe { slot.stack.leave() }
    }
}

/// What whoever waits at a broken post does.
fn give_up() -> ! {
    if let Some(slot) = own_slot() {
        // Safety: as in `give_in`.
        unsafe { slot.stack.leave() }
    }
    panic::fail(format_args!(
        "error: internal error on {}; please report it, with the model's name",
        MESSAGE.get()
    ))
}

/// Sends all cores back to the firmware, whatever they are at: the application ends here and now.
pub fn stop() {
    let Some(crew) = current() else { return };
    crew.post.break_up();
    crew.post.dismiss(0);
    let start = clock::milliseconds();
    let busy = || crew.slots.iter().any(|slot| slot.inside.load(Acquire));
    while busy() && clock::milliseconds() - start < PATIENCE {
        core::hint::spin_loop();
    }
    crew.see_off();
}

impl Crew {
    /// Finds out which cores there are and what they have. `wanted` workers at most, the machine's physical cores without it.
    pub fn gather(wanted: Option<usize>, hook: Option<Hook>) -> &'static Crew {
        cpu::switch_on_vectors();
        let handle = boot::get_handle_for_protocol::<MpServices>().ok();
        let services = handle.and_then(open::<MpServices>);
        let Some(services) = services.as_ref().and_then(|services| services.get()) else {
            let why = "the firmware does not tell of others";
            return Crew::alone(choose(&[], wanted), wanted, why.into());
        };
        if hook == Some(Hook::Disabled) {
            for processor in list(services).iter().filter(|processor| !processor.is_boot) {
                let _ = services.enable_disable_ap(processor.number, false, None);
            }
        }
        let mut processors = list(services);
        processors.truncate(MOST / 2);
        let mut blocking = matches!(hook, Some(Hook::Blocking | Hook::BlockingPanic));
        loop {
            // The boot processor does not count where it only shows.
            let choice = choose(&processors, wanted.map(|n| n + usize::from(blocking)));
            if wanted == Some(1) || choice.others.is_empty() {
                let why = match (wanted, choice.all) {
                    (Some(1), _) => "",
                    (_, 1) => "there are no others",
                    _ => "no other is enabled",
                };
                return Crew::alone(choice, wanted, why.into());
            }
            let slots: Vec<Slot> = choice
                .others
                .iter()
                .map(|&number| Slot::new(number))
                .collect();
            let mut crew = Crew::new(choice, wanted);
            crew.slots = slots;
            crew.services = Some(NonNull::from(services));
            crew.hook = hook;
            crew.way = if blocking {
                Way::Elsewhere
            } else {
                Way::Together
            };
            let crew = enlist(crew);
            match crew.ask_what_they_have() {
                Ok(()) => (),
                Err(Status::UNSUPPORTED) if !blocking => {
                    blocking = true;
                    // Safety: nothing of it is used from here on; likewise below.
                    unsafe { discharge() };
                    continue;
                }
                Err(status) => {
                    // Safety: as above.
                    unsafe { discharge() };
                    let why = match status {
                        Status::NOT_STARTED => "no other is enabled".into(),
                        Status::NOT_READY => "the others are busy".into(),
                        Status::TIMEOUT => "the others do not come back".into(),
                        other => format!("the firmware refuses the others: {other:?}"),
                    };
                    let choice = choose(&processors, wanted);
                    return Crew::alone(choice, wanted, why);
                }
            }
            let missing: Vec<usize> = crew
                .slots
                .iter()
                .filter(|slot| !slot.came.load(Acquire))
                .map(|slot| slot.number)
                .collect();
            if missing.is_empty() {
                let own = Features::of_this_core();
                let all = crew.slots.iter().map(|slot| slot.features.get());
                crew.features.set(all.fold(own, Features::intersect));
                return crew;
            }
            // Safety: as above.
            unsafe { discharge() };
            // A core that firmware counts, but that does not come, is left out.
            for processor in &mut processors {
                processor.usable &= !missing.contains(&processor.number);
            }
        }
    }

    fn new(choice: Choice, wanted: Option<usize>) -> Crew {
        Crew {
            services: None,
            slots: Vec::new(),
            way: Way::Alone(String::new()),
            choice,
            wanted,
            hook: None,
            features: Cell::new(Features::of_this_core()),
            post: Post::new(give_up),
            duty: AtomicU8::new(duty::TELL),
            invited: AtomicUsize::new(0),
            event: Global::new(None),
            work: UnsafeCell::new(None),
            worked: AtomicBool::new(false),
            parts: AtomicUsize::new(0),
            jobs: AtomicU32::new(0),
        }
    }

    fn alone(choice: Choice, wanted: Option<usize>, why: String) -> &'static Crew {
        let mut crew = Crew::new(choice, wanted);
        crew.way = Way::Alone(why);
        enlist(crew)
    }

    /// What every core of the crew has.
    pub fn features(&self) -> Features {
        self.features.get()
    }

    /// How the others are reached.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// The banner's words.
    pub fn words(&self) -> String {
        words(&self.way, &self.choice, self.count(), self.wanted)
    }

    /// Does not return if a core has panicked. For whoever waits for something else than the crew.
    pub fn check(&self) {
        self.post.check();
    }

    /// Has everybody come once and tell what they have.
    fn ask_what_they_have(&self) -> Result<(), Status> {
        if self.way == Way::Elsewhere {
            return self.call(duty::TELL, self.slots.len(), None);
        }
        self.call_and_return(duty::TELL, self.slots.len())?;
        if self.see_off() {
            Ok(())
        } else {
            Err(Status::TIMEOUT)
        }
    }

    /// Calls the first `invited` cores. With an event, returns at once; without, when all have gone.
    fn call(&self, duty: u8, invited: usize, event: Option<&Event>) -> Result<(), Status> {
        let services = self.services.ok_or(Status::NOT_STARTED)?;
        // Safety: the firmware's protocol, which it keeps as long as it runs.
        let services = unsafe { services.as_ref() };
        self.duty.store(duty, Relaxed);
        self.invited.store(invited, Relaxed);
        for slot in &self.slots {
            slot.came.store(false, Relaxed);
        }
        let start = clock::milliseconds();
        loop {
            // Safety: closed by its owner when it has been signalled, not through this copy.
            let event = event.map(|event| unsafe { event.unsafe_clone() });
            let argument = ptr::from_ref(self).cast_mut().cast();
            let called = services.startup_all_aps(false, arrive, argument, event, None);
            match called.map_err(|error| error.status()) {
                // Somebody else's call may be under way.
                Err(Status::NOT_READY) if clock::milliseconds() - start < 2_000 => {
                    boot::stall(Duration::from_millis(10));
                }
                called => return called,
            }
        }
    }

    /// Calls the first `invited` cores and returns at once.
    fn call_and_return(&self, duty: u8, invited: usize) -> Result<(), Status> {
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

    /// Waits until all cores are back at the firmware, which they must be on their way to. Not all: they did not in time.
    fn see_off(&self) -> bool {
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

    /// Sees to it that `count` workers are here, the boot processor among them.
    fn hold(&self, count: usize) {
        let called = self.event.with(|event| event.is_some()) == Some(true);
        let here = if called {
            self.post.staying().max(1)
        } else {
            1
        };
        if count < here {
            // They would only take the others' time, on a machine with fewer cores than it shows.
            self.post.dismiss(count);
        }
        if count <= here {
            return;
        }
        self.rest();
        self.post.open(count);
        if let Err(status) = self.call_and_return(duty::SERVE, count - 1) {
            panic::fail(format_args!(
                "error: the firmware does not start the other cores any more ({status:?}); set threads = 1"
            ));
        }
        let start = clock::milliseconds();
        while self.post.arrived() < count - 1 {
            self.post.check();
            if clock::milliseconds() - start > PATIENCE {
                panic::fail(format_args!(
                    "error: only {} of {} other cores came when they were called; set threads = 1",
                    self.post.arrived(),
                    count - 1
                ));
            }
            core::hint::spin_loop();
        }
    }

    /// Gives the cores back to the firmware until the next pass needs them.
    pub fn rest(&self) {
        self.post.dismiss(0);
        let gone = self.see_off();
        if let Some(slot) = self.slots.iter().find(|slot| slot.stack.has_overflowed()) {
            panic!("the stack of core {} was too small", slot.number);
        }
        if !gone {
            panic::fail(format_args!(
                "error: the firmware does not get its cores back; switch the machine off, and set threads = 1"
            ));
        }
    }

    /// Where the boot processor cannot work itself: calls `work` on another core, with `threads` workers there, and meanwhile
    /// `tick` on this one, from an interrupt, every [`TICK`].
    ///
    /// # Errors
    /// If nobody came to do it; nothing has been done then.
    pub fn elsewhere(
        &self,
        threads: usize,
        work: &mut dyn FnMut(),
        tick: &mut dyn FnMut(),
    ) -> Result<(), String> {
        // Safety: the call below returns when all cores have gone.
        let work = unsafe { core::mem::transmute::<Work<'_>, Work<'static>>(work) };
        // Safety: no other core is here.
        unsafe { *self.work.get() = Some(work) };
        self.worked.store(false, Relaxed);
        self.parts.store(0, Relaxed);
        let threads = threads.clamp(1, self.slots.len());
        self.post.open(threads);

        let mut watch = Watch {
            crew: self,
            threads,
            since: clock::milliseconds(),
            tick,
        };
        let context = NonNull::from(&mut watch).cast();
        // Safety: the function is called while `watch` lives: the event is closed below.
        let timer = unsafe {
            boot::create_event(
                EventType::TIMER | EventType::NOTIFY_SIGNAL,
                Tpl::CALLBACK,
                Some(on_tick),
                Some(context),
            )
        };
        let period = TimerTrigger::Periodic(TICK);
        // Without a timer all is shown at the end.
        if let Ok(timer) = &timer {
            let _ = boot::set_timer(timer, period);
        }
        let called = self.call(duty::LEAD, threads, None);
        if let Ok(timer) = timer {
            let _ = boot::set_timer(&timer, TimerTrigger::Cancel);
            let _ = boot::close_event(timer);
        }
        // Safety: all have gone.
        unsafe { *self.work.get() = None };
        self.post.check();
        if let Some(slot) = self.slots.iter().find(|slot| slot.stack.has_overflowed()) {
            panic!("the stack of core {} was too small", slot.number);
        }
        if self.worked.load(Acquire) {
            return Ok(());
        }
        Err(match called {
            Ok(()) => "the other cores did not come".into(),
            Err(status) => format!("the firmware does not start the other cores ({status:?})"),
        })
    }
}

// Safety: a reply is led by one core, and every part of it is another core's, which `Post` waits
// for; `wait` looks at the word before it returns.
unsafe impl Workers for Crew {
    fn count(&self) -> usize {
        match self.way {
            Way::Alone(_) => 1,
            Way::Together => 1 + self.slots.len(),
            Way::Elsewhere => self.slots.len().max(1),
        }
    }

    fn at_hand(&self) -> usize {
        match self.way {
            // Who has gone home comes back with the next reply only.
            Way::Elsewhere => self.post.staying().max(1),
            _ => self.count(),
        }
    }

    fn run(&self, parts: usize, f: &(dyn Fn(usize) + Sync)) {
        match self.way {
            Way::Alone(_) => return f(0),
            Way::Together => self.hold(parts),
            Way::Elsewhere => {
                // Fewer than before: it has been found out how many are best.
                if parts < self.parts.swap(parts, Relaxed) {
                    self.post.dismiss(parts);
                }
                assert!(parts == 1 || parts <= self.post.staying(), "nobody is here");
            }
        }
        let panics = cfg!(feature = "test-hooks")
            && matches!(self.hook, Some(Hook::Panic | Hook::BlockingPanic))
            && (parts > 1 || self.way == Way::Elsewhere)
            && self.jobs.fetch_add(1, Relaxed) == 20;
        if panics {
            self.post.run(parts, &|part| {
                assert!(part + 1 < parts, "this is what the test asks for");
                f(part);
            });
        }
        self.post.run(parts, f);
        cpu::rest_vectors(self.features().has_avx2());
    }

    fn wait(&self, word: &AtomicU32, seen: u32) {
        self.post.wait(word, seen);
    }
}

impl Slot {
    fn new(number: usize) -> Slot {
        Slot {
            number,
            stack: Stack::new(),
            features: Cell::new(Features::BASE),
            came: AtomicBool::new(false),
            inside: AtomicBool::new(false),
        }
    }
}

/// The processors that the firmware tells of.
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

/// What the firmware calls on every enabled core.
extern "efiapi" fn arrive(argument: *mut c_void) {
    // Safety: `call` gives a crew that lives to the end.
    let crew = unsafe { &*argument.cast::<Crew>() };
    let Some(services) = crew.services else {
        return;
    };
    // Safety: the firmware's protocol; this function of it may be called on every core.
    let Ok(number) = (unsafe { services.as_ref() }).who_am_i() else {
        return;
    };
    let invited = crew.invited.load(Relaxed);
    let slots = crew.slots.iter().take(invited);
    let Some(slot) = slots.into_iter().find(|slot| slot.number == number) else {
        return;
    };
    slot.inside.store(true, Relaxed);
    // Safety: the firmware calls each core once, so nobody is on its stack.
    unsafe {
        slot.stack
            .call(visit, ptr::from_ref(slot).cast_mut().cast())
    };
    cpu::rest_vectors(slot.features.get().has_avx2());
    slot.inside.store(false, Release);
}

/// What a core does here, on its own stack.
extern "efiapi" fn visit(argument: *mut c_void) {
    // Safety: `arrive` gives this core's slot.
    let slot = unsafe { &*argument.cast::<Slot>() };
    let Some(crew) = current() else { return };
    cpu::switch_on_vectors();
    let features = Features::of_this_core();
    slot.features.set(features);
    slot.came.store(true, Release);
    // Each time anew: the firmware may have reset the core.
    let able = features.intersect(crew.features()) == crew.features();
    let Some(index) = crew.slots.iter().position(|other| ptr::eq(other, slot)) else {
        return;
    };
    match crew.duty.load(Relaxed) {
        duty::SERVE if able => crew.post.serve(index + 1),
        duty::LEAD if index == 0 => {
            // Safety: the boot processor has put it there, and waits for all to go.
            let work = unsafe { (*crew.work.get()).take() };
            if let Some(work) = work.filter(|_| able) {
                work();
                crew.worked.store(true, Release);
            }
            crew.post.dismiss(0);
        }
        duty::LEAD if able => crew.post.serve(index),
        _ => (),
    }
}

/// The boot processor while it waits in the firmware.
struct Watch<'a> {
    crew: &'a Crew,
    threads: usize,
    since: u64,
    tick: &'a mut dyn FnMut(),
}

/// Calls [`Watch::tick`], and sees to it that nobody waits for a core that does not come.
unsafe extern "efiapi" fn on_tick(_event: Event, context: Option<NonNull<c_void>>) {
    let Some(mut context) = context.map(NonNull::cast::<Watch<'_>>) else {
        return;
    };
    // Safety: `elsewhere` gives its own, which nobody else touches until the event is closed.
    let watch = unsafe { context.as_mut() };
    let crew = watch.crew;
    let leads = crew.slots[0].came.load(Acquire);
    let all = leads && crew.post.arrived() + 1 >= crew.post.staying().min(watch.threads);
    if !all && clock::milliseconds() - watch.since > PATIENCE {
        if leads {
            MESSAGE.put(format_args!(
                "cores that did not come when they were called"
            ));
            crew.post.break_up();
        }
        crew.post.dismiss(0);
    }
    (watch.tick)();
}
