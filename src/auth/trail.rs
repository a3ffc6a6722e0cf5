//! What the audit says about who comes in.

use super::sessions::Client;
use crate::audit::{Action, Actor, ActorKind, Entry, ObjectKind, Outcome};
use crate::clock::Timestamp;
use crate::db::Statement;
use crate::db::audit;
use crate::db::users::User;

/// Somebody at the door, by the account that he is known to have.
pub(super) fn at_the_door(user: Option<&User>, client: &Client, means: &'static str) -> Actor {
    let actor = match user {
        Some(user) => Actor::identified(ActorKind::User, &user.id, &user.name),
        // Names that nobody has are not written down: one of them is a password, some day.
        None => client.address.map_or_else(|| Actor::program("unknown"), Actor::address),
    };
    Actor { means, address: client.address, request_id: client.request_id.clone(), ..actor }
}

pub(super) fn done(
    actor: &Actor,
    action: Action,
    object: (ObjectKind, &str),
    outcome: Outcome,
    now: Timestamp,
) -> Statement {
    audit::append(&Entry::new(actor, action).object(object.0, object.1).outcome(outcome), now)
}

/// A secret that was wrong.
pub(super) fn refused(actor: &Actor, action: Action, now: Timestamp) -> Statement {
    audit::append(&Entry::new(actor, action).outcome(Outcome::Denied), now)
}
