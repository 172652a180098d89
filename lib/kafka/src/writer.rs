//! Several records in one transaction, all or none: an async face on a producer with a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::transaction::TransactionalProducer;
use crate::{Position, Record, Settings, Stop, TransactionError};

/// A transactional producer for work that has no Kafka input. Opening one fences every older one of the same id.
pub struct TransactionalWriter {
    jobs: Sender<Job>,
    fenced: Arc<AtomicBool>,
}

struct Job {
    records: Vec<Record>,
    commit: bool,
    answer: oneshot::Sender<Result<Vec<Position>, TransactionError>>,
}

impl TransactionalWriter {
    /// Opens the producer and ends whatever its predecessor left open.
    ///
    /// # Errors
    /// When the broker cannot be reached in time or the settings are refused.
    pub async fn new(settings: &Settings, transactional_id: &str) -> Result<Self, Stop> {
        let (jobs, queue) = channel();
        let (opened, ready) = oneshot::channel();
        let fenced = Arc::new(AtomicBool::new(false));
        let (settings, id, flag) = (settings.clone(), transactional_id.to_owned(), Arc::clone(&fenced));
        std::thread::Builder::new()
            .name("transactional-writer".to_owned())
            .spawn(move || match TransactionalProducer::new(&settings, &id, Duration::from_secs(45)) {
                Ok(producer) => {
                    if opened.send(Ok(())).is_ok() {
                        serve(producer, &settings, &id, &queue, &flag);
                    }
                }
                Err(stop) => {
                    let _gone = opened.send(Err(stop)).is_err();
                }
            })
            .map_err(|error| Stop::retryable("no-thread", error.to_string()))?;
        match ready.await {
            Ok(result) => result?,
            Err(_) => {
                return Err(Stop::retryable("worker-panicked", format!("the producer {transactional_id} panicked")));
            }
        }
        Ok(Self { jobs, fenced })
    }

    /// Commits all records in one transaction and tells their positions, in order.
    ///
    /// # Errors
    /// [`TransactionError::Aborted`]: none of them is visible, try again. `Indefinite`: the producer was replaced and
    /// ended the transaction one way or the other, nobody knows which: read what you wrote before you go on.
    pub async fn write(&self, records: Vec<Record>) -> Result<Vec<Position>, TransactionError> {
        self.submit(records, true).await
    }

    /// Takes offsets that no reader of committed records will see anything at: writes the records, and aborts.
    ///
    /// # Errors
    /// As [`Self::write`]; what was written is visible in no case.
    pub async fn pad(&self, records: Vec<Record>) -> Result<Vec<Position>, TransactionError> {
        self.submit(records, false).await
    }

    async fn submit(&self, records: Vec<Record>, commit: bool) -> Result<Vec<Position>, TransactionError> {
        let (answer, answered) = oneshot::channel();
        let closed = || TransactionError::Fenced("the producer is closed".to_owned());
        self.jobs.send(Job { records, commit, answer }).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Whether a newer writer of the same id exists.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }
}

fn serve(
    mut producer: TransactionalProducer,
    settings: &Settings,
    id: &str,
    queue: &Receiver<Job>,
    fenced: &AtomicBool,
) {
    while let Ok(job) = queue.recv() {
        let mut result = attempt(&mut producer, &job);
        let lost = match &result {
            Ok(_) | Err(TransactionError::Fenced(_)) => None,
            Err(TransactionError::Aborted(_) | TransactionError::Refused(_) | TransactionError::Forbidden(_)) => {
                producer.abort().err()
            }
            Err(indefinite @ TransactionError::Indefinite(_)) => Some(indefinite.clone()),
        };
        match lost {
            None => {}
            Some(error @ TransactionError::Fenced(_)) => result = Err(error),
            Some(_) => {
                if let Err(error) = replace(&mut producer, settings, id) {
                    result = Err(error);
                }
            }
        }
        let ended = matches!(result, Err(TransactionError::Fenced(_)));
        fenced.store(ended, Ordering::Release);
        let _gone = job.answer.send(result).is_err();
        if ended {
            return;
        }
    }
}

fn attempt(producer: &mut TransactionalProducer, job: &Job) -> Result<Vec<Position>, TransactionError> {
    producer.begin()?;
    for record in &job.records {
        producer.send(record, true)?;
    }
    if job.commit {
        producer.commit(None)?;
    } else {
        producer.settle()?;
        producer.abort()?;
    }
    Ok(producer.positions())
}

/// A new producer under the same id. If that fails, the writer is of no more use and says so by `Fenced`.
fn replace(producer: &mut TransactionalProducer, settings: &Settings, id: &str) -> Result<(), TransactionError> {
    match TransactionalProducer::new(settings, id, Duration::from_secs(60)) {
        Ok(new) => {
            *producer = new;
            Ok(())
        }
        Err(stop) => Err(TransactionError::Fenced(stop.to_string())),
    }
}
