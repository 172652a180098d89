//! Offers and their versions, hires.

use fastrand::Rng;

use super::births::attach;
use super::{edit, show};
use crate::clock::iso_date;
use crate::effects::Effects;
use crate::greenhouse::bodies;
use crate::greenhouse::rows;
use crate::world::people::{Application, Offer, Status};
use crate::world::{Range, World};

/// The offer `back` versions before the newest.
pub(super) fn offer_of(world: &World, app: usize, back: usize) -> Option<(&Application, &Offer)> {
    let app = world.applications.get(&app)?;
    Some((app, app.offers.iter().rev().nth(back)?))
}

pub(super) fn show_offer(world: &World, app: usize, back: usize, out: &mut Effects) {
    out.rows.extend(offer_of(world, app, back).map(|(app, offer)| rows::offer(world, app, offer)));
}

pub(super) fn tell_offer(world: &World, app: usize, back: usize, action: &'static str, out: &mut Effects) {
    out.webhooks.extend(offer_of(world, app, back).map(|(app, offer)| bodies::offer(world, app, offer, action)));
}

pub(super) fn touch_offer(world: &mut World, app: usize, at: i64, change: impl FnOnce(&mut Offer)) {
    edit(world, app, at, |app| {
        if let Some(offer) = app.offers.last_mut() {
            change(offer);
            offer.updated_at = at;
        }
    });
}

pub(super) fn offer(world: &mut World, index: usize, revised: bool, at: i64, rng: &mut Rng, out: &mut Effects) {
    let id = world.id(Range::Other);
    let low = world
        .applications
        .get(&index)
        .and_then(|app| world.company.jobs.get(app.job?))
        .map_or(50_000, |job| job.salary.0);
    let opening = world.applications.get(&index).and_then(|app| {
        let job = world.company.jobs.get(app.job?)?;
        job.openings.iter().position(|opening| opening.filled.is_none())
    });
    let deprecates = revised && offer_of(world, index, 0).is_some();
    edit(world, index, at, |app| {
        if let Some(old) = app.offers.last_mut() {
            old.status = "Deprecated";
            old.updated_at = at;
            old.resolved_at = Some(at);
        }
        let cents = (low + rng.i64(0..30) * 1_000) * 100 + if rng.u8(..4) == 0 { 50 } else { 0 };
        app.offers.push(Offer {
            id,
            version: i64::try_from(app.offers.len()).unwrap_or(0) + 1,
            status: "Created",
            created_at: at,
            updated_at: at,
            sent_on: None,
            resolved_at: None,
            starts_on: iso_date(at + 86_400_000 * (30 + rng.i64(0..60))),
            salary_cents: cents,
            bonus: rng.bool().then(|| rng.i64(1..10) * 1_000),
            opening,
        });
    });
    if deprecates {
        show_offer(world, index, 1, out);
        tell_offer(world, index, 1, "offer_updated", out);
    }
    show_offer(world, index, 0, out);
    show(world, index, out);
    tell_offer(world, index, 0, "offer_created", out);
}

pub(super) fn hire(world: &mut World, index: usize, at: i64, out: &mut Effects) {
    edit(world, index, at, |app| {
        app.status = Status::Hired;
        app.hired_at = Some(at);
    });
    touch_offer(world, index, at, |offer| {
        offer.status = "Accepted";
        offer.resolved_at = Some(at);
        offer.sent_on = offer.sent_on.take().or_else(|| Some(iso_date(at)));
    });
    attach(world, index, "signed_offer_letter", "Offer <signed>.pdf", at, out);
    show_offer(world, index, 0, out);
    show(world, index, out);
    let filled = offer_of(world, index, 0).and_then(|(app, offer)| Some((app.id, app.job?, offer.opening?)));
    if let Some((app, offer)) = offer_of(world, index, 0) {
        out.webhooks.push(bodies::hire(world, app, offer));
        out.webhooks.push(bodies::offer(world, app, offer, "offer_updated"));
    }
    if let Some((app, job, opening)) = filled {
        let reason = world.company.close_reasons.first().map(|reason| reason.id);
        if let Some(job) = world.company.jobs.get_mut(job) {
            if let Some(slot) = job.openings.get_mut(opening) {
                slot.filled = Some((app, at));
            }
            out.rows.extend(rows::opening(job, opening, at, reason));
        }
    }
}
