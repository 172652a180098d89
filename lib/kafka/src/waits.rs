//! Waits of librdkafka last as long as they should, whatever becomes of the wall clock.
//!
//! librdkafka waits by C11's `cnd_timedwait`, until an instant of the wall clock (confluentinc/librdkafka#2145). If the clock
//! is set back by an hour, each wait that is under way lasts an hour longer: no heartbeat, no commit, no end of the
//! process. So the program has a `cnd_timedwait` of its own, which the linker takes in the place of glibc's: it waits by
//! the monotonic clock for what is left when it is called
//! ([decision 23](../../../docs/adr/0023-waits-by-the-monotonic-clock.md)).
#![allow(unsafe_code)]

use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, timespec};

const SECOND: i64 = 1_000_000_000;
/// Of glibc's `threads.h`.
const THRD_SUCCESS: c_int = 0;
const THRD_ERROR: c_int = 2;
const THRD_TIMEDOUT: c_int = 4;

unsafe extern "C" {
    /// Since glibc 2.30.
    fn pthread_cond_clockwait(
        condition: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        until: *const timespec,
    ) -> c_int;
}

/// # Safety
/// As C11 says. `condition` and `mutex` are a `cnd_t` and a `mtx_t`: glibc's own function takes them for these too.
#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: whoever calls gives what the function of C11 asks for; the other one asks for no more.
    let ended = unsafe {
        let left = nanoseconds(&*until).saturating_sub(now(libc::CLOCK_REALTIME));
        let until = now(libc::CLOCK_MONOTONIC).saturating_add(left.max(0));
        let until = timespec { tv_sec: until / SECOND, tv_nsec: until % SECOND };
        pthread_cond_clockwait(condition, mutex, libc::CLOCK_MONOTONIC, &raw const until)
    };
    match ended {
        0 => THRD_SUCCESS,
        libc::ETIMEDOUT => THRD_TIMEDOUT,
        _ => THRD_ERROR,
    }
}

fn nanoseconds(time: &timespec) -> i64 {
    time.tv_sec.saturating_mul(SECOND).saturating_add(time.tv_nsec)
}

fn now(clock: clockid_t) -> i64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec`. It fails only for clocks that the system does not have.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    nanoseconds(&time)
}
