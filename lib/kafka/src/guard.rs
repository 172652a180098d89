//! A judge of each connection that a client makes, asked before it is made.
//!
//! librdkafka resolves the names of brokers itself, those of the settings and those that a cluster advertises, and then
//! has its `connect_cb` connect. What answers there sees every address, and behind the only resolution. It has
//! unsafe code: rdkafka does not set that callback, and makes its clients of a configuration that it shows
//! nobody ([decision 20](../../../docs/adr/0020-connections-to-brokers.md)). So a client behind a guard is made without
//! brokers, gets its callback, and only then is told of them: whatever else is made of such settings connects nowhere.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::Error;
use std::net::IpAddr;
use std::sync::Arc;

use libc::sockaddr;
use rdkafka::bindings;
use rdkafka::client::{Client, ClientContext};
use tokio::sync::watch;

use crate::{Settings, Stop};

/// Whether a broker, `HOST:PORT` as the settings or the cluster name it, may be connected to at an address that its name
/// led to. Asked on threads of librdkafka: it does not wait and does not panic.
#[derive(Clone)]
pub struct Judge(Arc<MayConnect>);

type MayConnect = dyn Fn(&str, IpAddr) -> bool + Send + Sync;

impl Judge {
    pub fn new(may_connect: impl Fn(&str, IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_connect))
    }
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judge")
    }
}

/// The guard of one client.
pub(crate) struct Guard {
    judge: Judge,
    refused: watch::Sender<u64>,
}

impl Guard {
    pub(crate) fn new(judge: Judge) -> Self {
        Self { judge, refused: watch::Sender::new(0) }
    }

    /// Changes with each connection that is refused from now on.
    pub(crate) fn refusals(&self) -> watch::Receiver<u64> {
        self.refused.subscribe()
    }

    fn lets(&self, broker: &str, address: IpAddr) -> bool {
        let may = (self.judge.0)(broker, address);
        if !may {
            self.refused.send_modify(|count| *count += 1);
        }
        may
    }
}

/// The context of a client that may be behind a guard.
pub(crate) trait Guarded: ClientContext {
    fn guard(&self) -> Option<&Guard>;
}

/// Lets a client that was made of guarded settings go to its brokers; one without a guard has them already.
pub(crate) fn start<C: Guarded>(client: &Client<C>, settings: &Settings) -> Result<(), Stop> {
    if client.context().guard().is_none() {
        return Ok(());
    }
    let failed = |what: &str| Stop::permanent("kafka-unguarded", format!("guard a client: {what}"));
    let brokers = CString::new(settings.bootstrap_servers()).map_err(|_| failed("its brokers cannot be named"))?;
    let native = client.native_ptr();
    let callback = on_connect::<C>;
    // SAFETY: `native` is a client that lives as long as `client`. What `rd_kafka_conf` leads to is memory of the client's
    // own that it calls read-only; no thread reads the callback as long as no broker is known, and `rd_kafka_brokers_add`
    // starts the threads that do. `rd_kafka_conf_get` writes no more than `size` bytes, the last of them 0. That the
    // pointer that the callback will get is the context, and that the callback is in place, is looked at before a
    // broker is known.
    let added = unsafe {
        if bindings::rd_kafka_opaque(native) != Arc::as_ptr(client.context()).cast_mut().cast() {
            return Err(failed("this rdkafka hands its context to callbacks in another way"));
        }
        bindings::rd_kafka_conf_set_connect_cb(bindings::rd_kafka_conf(native).cast_mut(), Some(callback));
        let (mut found, mut size) = ([0_u8; 64], 64);
        let found_at = found.as_mut_ptr().cast();
        bindings::rd_kafka_conf_get(bindings::rd_kafka_conf(native), c"connect_cb".as_ptr(), found_at, &raw mut size);
        let expected = format!("{:p}", callback as *const ());
        if CStr::from_bytes_until_nul(&found).ok().and_then(|text| text.to_str().ok()) != Some(&*expected) {
            return Err(failed("this librdkafka does not take the callback"));
        }
        bindings::rd_kafka_brokers_add(native, brokers.as_ptr())
    };
    if added > 0 { Ok(()) } else { Err(failed("its brokers cannot be added")) }
}

/// librdkafka's `connect_cb`: 0 when connected or under way, else an `errno`.
///
/// # Safety
/// `context` is the `C` of a client that lives; `broker` is a C string, and `address` one of `bytes` bytes.
unsafe extern "C" fn on_connect<C: Guarded>(
    socket: c_int,
    address: *const sockaddr,
    bytes: c_int,
    broker: *const c_char,
    context: *mut c_void,
) -> c_int {
    // SAFETY: as promised by who calls; `start` has compared the context, which a client outlives by no thread.
    let (guard, broker, ip) =
        unsafe { ((*context.cast::<C>()).guard(), CStr::from_ptr(broker).to_string_lossy(), ip_of(address)) };
    let Some((guard, ip)) = guard.zip(ip) else { return libc::EACCES };
    if !guard.lets(&broker, ip) {
        return libc::EACCES;
    }
    // SAFETY: `address` has `bytes` bytes. The socket is one that does not block.
    let connected = unsafe { libc::connect(socket, address, bytes.unsigned_abs()) };
    if connected == 0 {
        return 0;
    }
    match Error::last_os_error().raw_os_error() {
        Some(libc::EINPROGRESS) => 0,
        error => error.unwrap_or(libc::EIO),
    }
}

/// `None`: of another family.
///
/// # Safety
/// `address` is as long as its family says.
unsafe fn ip_of(address: *const sockaddr) -> Option<IpAddr> {
    // SAFETY: the family stands in the same place in all of them and says which one it is.
    unsafe {
        match c_int::from((*address).sa_family) {
            libc::AF_INET => {
                let address = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(IpAddr::V4(u32::from_be(address.sin_addr.s_addr).into()))
            }
            libc::AF_INET6 => {
                let address = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(IpAddr::V6(address.sin6_addr.s6_addr.into()))
            }
            _ => None,
        }
    }
}
