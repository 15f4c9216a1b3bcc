//! Who does the work: `f(part)` on every core and back, behind one trait.

use core::marker::PhantomData;

/// A crew that runs one function on several cores.
pub trait Workers: Sync {
    /// Number of parts that `run` calls its function with; at least 1, the same for the crew's whole life.
    fn count(&self) -> usize;

    /// Calls `f(0)`, …, `f(count() - 1)`, each once, possibly at the same time, and returns when all have returned.
    fn run(&self, f: &(dyn Fn(usize) + Sync));
}

/// One worker: the caller itself.
pub struct Single;

impl Workers for Single {
    fn count(&self) -> usize {
        1
    }

    fn run(&self, f: &(dyn Fn(usize) + Sync)) {
        f(0);
    }
}

/// Deals `data` to the workers in runs of whole chunks of `chunk` elements (the last chunk may be shorter) and calls
/// `f(index of the first chunk, that run)` on each worker that got any.
pub fn deal<T: Send>(
    workers: &dyn Workers,
    data: &mut [T],
    chunk: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let chunks = data.len().div_ceil(chunk);
    let parts = workers.count();
    if parts == 1 {
        return f(0, data);
    }
    let shared = Shared {
        start: data.as_mut_ptr(),
        len: data.len(),
        _owner: PhantomData::<&mut [T]>,
    };
    workers.run(&|part| {
        let (first, last) = (chunks * part / parts, chunks * (part + 1) / parts);
        if first < last {
            // Safety: `run` calls each part once, and the runs of two parts share no chunk.
            f(first, unsafe { shared.range(first * chunk, last * chunk) });
        }
    });
}

/// A mutable slice that several workers take disjoint parts of.
struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    _owner: PhantomData<&'a mut [T]>,
}

// Safety: it only hands out parts, which `range`'s caller keeps disjoint; T may go to another thread.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<T> Shared<'_, T> {
    /// Elements `first..last`, cut to the slice's length.
    ///
    /// # Safety
    /// No two ranges that are alive at the same time may overlap, and `first` must not be behind the end.
    #[allow(clippy::mut_from_ref)]
    unsafe fn range(&self, first: usize, last: usize) -> &mut [T] {
        let last = last.min(self.len);
        // Safety: within the slice that `deal` holds mutably for as long as the workers run; disjoint by contract.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(first), last - first) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Host threads, started for each call: slow, but it shows that the parts are independent.
    pub(crate) struct Scoped(pub usize);

    impl Workers for Scoped {
        fn count(&self) -> usize {
            self.0
        }

        fn run(&self, f: &(dyn Fn(usize) + Sync)) {
            std::thread::scope(|scope| {
                for part in 0..self.0 {
                    scope.spawn(move || f(part));
                }
            });
        }
    }

    #[test]
    fn every_element_is_dealt_once() {
        for len in [0, 1, 15, 16, 17, 100, 160] {
            for count in [1, 2, 3, 7, 20] {
                let mut data = vec![0u32; len];
                deal(&Scoped(count), &mut data, 16, |chunk, run| {
                    for (i, x) in run.iter_mut().enumerate() {
                        *x += (chunk * 16 + i) as u32 + 1;
                    }
                });
                assert!(
                    data.iter().enumerate().all(|(i, &x)| x == i as u32 + 1),
                    "{len} over {count}: {data:?}"
                );
            }
        }
    }
}
