//! How an event reaches ingest: it is delivered at a desk, or it waits in the vendor's queue until that is read.

use std::sync::Arc;

use hirewire_ingest::webhook::Taken;
use hirewire_ingest::{Connection, Letterbox};
use hirewire_sim::Event;
use hirewire_sim::vendor::{Tamper, Vendor, message, sign};
use serde_json::Value;

use super::Kit;
use super::desk::{Desk, OLD};

pub(super) enum Carrier<'a> {
    Desk(&'a Desk),
    Queue(Box<Letterbox>),
}

impl<'a> Carrier<'a> {
    /// For events of the vendor that `connection` polls. A queue is made at once: it takes nothing before. `None`: no event
    /// reaches ingest.
    pub(super) async fn of(kit: &Kit, desk: Option<&'a Desk>, connection: &Arc<Connection>) -> Option<Self> {
        if let Some(desk) = desk {
            return Some(Self::Desk(desk));
        }
        if !kit.queues() {
            return None;
        }
        let mut letterbox = Letterbox::new(kit.http.as_ref()?, connection)?;
        letterbox.read().await;
        Some(Self::Queue(Box::new(letterbox)))
    }

    /// What is kept of the event of a row. `row` is what the row is, or was.
    pub(super) async fn bring(
        &mut self,
        kit: &Kit,
        vendor: &Vendor,
        event: &Event,
        row: &Value,
        sent_at_ms: i64,
    ) -> Result<Taken, String> {
        let message = message(&kit.rules, event, kit.bodies.get(&event.name), row, &vendor.origin);
        let (how, taken) = match (self, &kit.rules.webhook) {
            (Self::Desk(desk), Some(rules)) => {
                let delivery = sign(rules, &message, OLD.as_bytes(), sent_at_ms, Tamper::None);
                let (status, taken) = desk.bring("kit", &delivery).await?;
                (format!("is answered {status}"), taken)
            }
            (Self::Desk(_), None) => return Err("nobody says how it is delivered".to_owned()),
            (Self::Queue(letterbox), _) => {
                vendor.with(|account| account.tell(message.body));
                letterbox.read().await;
                ("waits in the queue".to_owned(), letterbox.take())
            }
        };
        let kept = taken.events.len() == 1;
        kept.then_some(taken).ok_or_else(|| format!("the event {} {how}, and should be kept", event.key))
    }
}
