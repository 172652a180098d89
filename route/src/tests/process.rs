//! The service as a process of its own, to be killed: the test binary once more, running [`worker_process`] alone.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::ground::{Ground, Place, Service};
use super::support::until;

/// Ends with the test.
pub(super) struct Process(Child);

const PLACE: &str = "HIREWIRE_TEST_PLACE";

impl Process {
    /// Returns when the service is ready. Its folder is `process` in that of the ground.
    pub(super) async fn start(ground: &Ground, config: &str) -> Self {
        let folder = ground.folder.path().join("process");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("hirewire.yaml"), config).unwrap();
        let Place { brokers, prefix, registry_url } = &ground.place;
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "tests::process::worker_process"])
            .env(PLACE, format!("{brokers} {prefix} {registry_url} {}", folder.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Self(child);
        let ready = folder.join("ready");
        until("the process to be ready", || {
            assert!(process.0.try_wait().unwrap().is_none(), "the process ended early");
            ready.exists()
        })
        .await;
        process
    }

    pub(super) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ended = self.0.kill().is_err();
        let _reaped = self.0.wait().is_err();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test: the process that other tests kill"]
async fn worker_process() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let [brokers, prefix, registry_url, folder]: [&str; 4] =
        place.split(' ').collect::<Vec<_>>().try_into().expect("four words");
    let place = Place { brokers: brokers.into(), prefix: prefix.into(), registry_url: registry_url.into() };
    let folder = Path::new(folder);
    let config = std::fs::read_to_string(folder.join("hirewire.yaml")).unwrap();
    let service = Service::start(&place, &config, &folder.join("data")).await;
    std::fs::write(folder.join("ready"), "").unwrap();
    // Until it is killed, or the test has gone and with it the other end of the input.
    let (gone, test_gone) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _bytes = std::io::stdin().read(&mut [0]);
        drop(gone);
    });
    tokio::select! {
        ended = service.task => ended.unwrap().unwrap(),
        _ = test_gone => {}
    }
}
