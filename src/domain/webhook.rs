//! A programme's subscription to events: what it wants, where it goes, and how well that goes.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use uuid::Uuid;

use super::callback_url::CallbackUrl;
use super::delivery::Outcome;
use super::event::EntityType;
use super::timestamp::Timestamp;

/// How long a rotated secret signs beside the new one.
pub const ROTATION_OVERLAP: Duration = Duration::from_hours(24);
/// A receiver that has answered nothing well for this long ...
pub const DISABLE_AFTER: Duration = Duration::from_hours(72);
/// ... over at least this many attempts is disabled. A single delivery makes fewer before it is dead.
pub const DISABLE_ATTEMPTS: u32 = 20;
/// How often a subscription that was disabled for failing is tried again.
pub const PROBE_EVERY: Duration = Duration::from_hours(1);

/// How the text form of a secret begins (Standard Webhooks).
pub const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a new secret; the specification asks for 24 to 64.
pub const SECRET_BYTES: usize = 32;

/// The text form of a new secret, shown to the programme once; `random` comes from the clock.
pub fn new_secret(random: &[u8; SECRET_BYTES]) -> SecretString {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(random)).into()
}

/// What a webhook tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WebhookType {
    /// A customer was created or changed.
    CustomerUpdated,
    /// An account was created or changed.
    AccountUpdated,
    /// A card was created or changed.
    CardUpdated,
    /// A trial that the programme asked for: goes to one subscription, and cannot be subscribed to.
    Test,
}

/// The name is none of the types that can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be customer.updated, account.updated or card.updated")]
pub struct UnknownWebhookType;

impl WebhookType {
    /// The name in `types` and `webhookType`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CustomerUpdated => EntityType::Customer.event_type(),
            Self::AccountUpdated => EntityType::Account.event_type(),
            Self::CardUpdated => EntityType::Card.event_type(),
            Self::Test => "webhook.test",
        }
    }

    /// By any of the four names: for what was stored.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::CustomerUpdated, Self::AccountUpdated, Self::CardUpdated, Self::Test]
            .into_iter()
            .find(|it| it.as_str() == name)
    }
}

/// The type that tells of a change of such an entity.
impl From<EntityType> for WebhookType {
    fn from(entity: EntityType) -> Self {
        match entity {
            EntityType::Customer => Self::CustomerUpdated,
            EntityType::Account => Self::AccountUpdated,
            EntityType::Card => Self::CardUpdated,
        }
    }
}

impl fmt::Display for WebhookType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// For what a caller subscribes to: `webhook.test` is no such type.
impl FromStr for WebhookType {
    type Err = UnknownWebhookType;

    fn from_str(name: &str) -> Result<Self, UnknownWebhookType> {
        Self::from_name(name).filter(|it| *it != Self::Test).ok_or(UnknownWebhookType)
    }
}

/// Why a subscription is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledReason {
    /// The receiver answered 410. Only `PUT` revives it.
    Gone,
    /// Nothing was delivered for [`DISABLE_AFTER`]. Probed every [`PROBE_EVERY`]; one good answer revives it.
    Failing,
}

impl DisabledReason {
    /// `disabledReason` in the API and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Gone, Self::Failing].into_iter().find(|it| it.as_str() == name)
    }
}

/// What the programme chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where events go.
    pub callback_url: CallbackUrl,
    /// Which ones; never empty.
    pub types: BTreeSet<WebhookType>,
    /// Keep order per entity: an event waits until the entity's previous one was delivered or is dead.
    pub fifo: bool,
}

/// A signing secret on its way out.
#[derive(Debug, Clone)]
pub struct RotatedSecret {
    /// `whsec_` text.
    pub secret: SecretString,
    /// Signs before this moment, not at or after it.
    pub until: Timestamp,
}

/// A subscription. Its events are recorded whether it is disabled or not.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// `webhookId` of the API.
    pub id: Uuid,
    /// The tenant.
    pub programme_id: Uuid,
    /// What the programme chose.
    pub settings: Settings,
    /// Present while the status is `disabled`.
    pub disabled_reason: Option<DisabledReason>,
    /// When a subscription that is [`DisabledReason::Failing`] is tried next.
    pub probe_at: Option<Timestamp>,
    /// Since when every attempt has failed.
    pub failing_since: Option<Timestamp>,
    /// How many attempts have failed in a row.
    pub failures: u32,
    /// The `whsec_` text that signs.
    pub secret: SecretString,
    /// Its predecessor, which signs beside it for a while.
    pub previous_secret: Option<RotatedSecret>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the programme or the service last changed it.
    pub updated_at: Timestamp,
}

/// What a programme is shown of a subscription: nothing that would have to be opened.
#[derive(Debug, Clone)]
pub struct Summary {
    /// `webhookId` of the API.
    pub id: Uuid,
    /// What the programme chose.
    pub settings: Settings,
    /// Present while the status is `disabled`.
    pub disabled_reason: Option<DisabledReason>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the programme or the service last changed it.
    pub updated_at: Timestamp,
}

impl From<&Subscription> for Summary {
    fn from(it: &Subscription) -> Self {
        Self {
            id: it.id,
            settings: it.settings.clone(),
            disabled_reason: it.disabled_reason,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// What an attempt did to its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Still active, or still disabled.
    None,
    /// It has just been disabled.
    Disabled(DisabledReason),
    /// A probe was answered well: it is active again, and what waits for it is due.
    Revived,
}

impl Subscription {
    /// `active` or `disabled`.
    pub const fn status(&self) -> &'static str {
        if self.disabled_reason.is_none() { "active" } else { "disabled" }
    }

    /// Whether an event of this type makes a delivery. The trial always does.
    pub fn wants(&self, webhook_type: WebhookType) -> bool {
        webhook_type == WebhookType::Test || self.settings.types.contains(&webhook_type)
    }

    /// Whether deliveries may be attempted now; of a failing subscription one at a time, as a probe.
    pub fn may_send(&self, now: Timestamp) -> bool {
        match self.disabled_reason {
            None => true,
            // One that is later than it can be was set by a clock that was ahead.
            Some(DisabledReason::Failing) => self.probe_at.is_some_and(|at| at <= now || at > now + PROBE_EVERY),
            Some(DisabledReason::Gone) => false,
        }
    }

    /// `PUT` on an existing subscription: new settings; a disabled one is active again.
    pub fn update(&mut self, settings: Settings, now: Timestamp) {
        self.settings = settings;
        self.updated_at = now;
        self.recover();
    }

    /// A new secret signs from now on, and the old one beside it for [`ROTATION_OVERLAP`]. One that was still on its way
    /// out stops at once.
    pub fn rotate_secret(&mut self, secret: SecretString, now: Timestamp) {
        let old = std::mem::replace(&mut self.secret, secret);
        self.previous_secret = Some(RotatedSecret { secret: old, until: now + ROTATION_OVERLAP });
        self.updated_at = now;
    }

    /// The secrets that sign at this moment, the newest first.
    pub fn live_secrets(&self, now: Timestamp) -> impl Iterator<Item = &SecretString> {
        let previous = self.previous_secret.as_ref().filter(move |old| now < old.until);
        std::iter::once(&self.secret).chain(previous.map(|old| &old.secret))
    }

    /// Takes note of an attempt's outcome.
    pub fn observe(&mut self, outcome: Outcome, now: Timestamp) -> Turn {
        match outcome {
            Outcome::Delivered if self.disabled_reason == Some(DisabledReason::Failing) => {
                self.recover();
                self.updated_at = now;
                Turn::Revived
            }
            Outcome::Delivered => {
                (self.failing_since, self.failures) = (None, 0);
                Turn::None
            }
            Outcome::Gone => self.disable(DisabledReason::Gone, now),
            Outcome::Failed => {
                // A later time was given by a clock that was ahead.
                let since = *self.failing_since.insert(self.failing_since.map_or(now, |since| since.min(now)));
                self.failures = self.failures.saturating_add(1);
                if now.since(since) >= DISABLE_AFTER && self.failures >= DISABLE_ATTEMPTS {
                    self.disable(DisabledReason::Failing, now)
                } else {
                    Turn::None
                }
            }
        }
    }

    fn disable(&mut self, reason: DisabledReason, now: Timestamp) -> Turn {
        // What the receiver said for good is not softened by an attempt that was under way and merely failed.
        if self.disabled_reason == Some(DisabledReason::Gone) {
            return Turn::None;
        }
        self.probe_at = (reason == DisabledReason::Failing).then(|| now + PROBE_EVERY);
        if self.disabled_reason.replace(reason) == Some(reason) {
            return Turn::None;
        }
        self.updated_at = now;
        Turn::Disabled(reason)
    }

    fn recover(&mut self) {
        (self.disabled_reason, self.probe_at) = (None, None);
        (self.failing_since, self.failures) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reach::Reach;
    use secrecy::ExposeSecret as _;

    const START: Timestamp = Timestamp(1_795_347_600_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn subscription() -> Subscription {
        Subscription {
            id: Uuid::from_u128(1),
            programme_id: Uuid::from_u128(2),
            settings: Settings {
                callback_url: CallbackUrl::parse("https://example.com/hook", Reach::Global).unwrap(),
                types: BTreeSet::from([WebhookType::CustomerUpdated]),
                fifo: false,
            },
            disabled_reason: None,
            probe_at: None,
            failing_since: None,
            failures: 0,
            secret: "whsec_first".into(),
            previous_secret: None,
            created_at: START,
            updated_at: START,
        }
    }

    #[test]
    fn types_by_name() {
        assert_eq!("card.updated".parse(), Ok(WebhookType::CardUpdated));
        assert_eq!("webhook.test".parse::<WebhookType>(), Err(UnknownWebhookType));
        assert_eq!("Customer.updated".parse::<WebhookType>(), Err(UnknownWebhookType));
        assert_eq!(WebhookType::from_name("webhook.test"), Some(WebhookType::Test));
        assert_eq!(WebhookType::from(EntityType::Account).as_str(), "account.updated");
    }

    #[test]
    fn wants_its_types_and_every_trial() {
        let it = subscription();
        assert!(it.wants(WebhookType::CustomerUpdated) && it.wants(WebhookType::Test));
        assert!(!it.wants(WebhookType::AccountUpdated) && !it.wants(WebhookType::CardUpdated));
    }

    #[test]
    fn gone_disables_at_once_until_put() {
        let mut it = subscription();
        assert_eq!(it.observe(Outcome::Gone, START + HOUR), Turn::Disabled(DisabledReason::Gone));
        assert_eq!((it.status(), it.updated_at), ("disabled", START + HOUR));
        assert!(!it.may_send(START + 1000 * HOUR));
        assert_eq!(it.observe(Outcome::Gone, START + HOUR), Turn::None);
        // An attempt that was under way does not revive it.
        assert_eq!(it.observe(Outcome::Delivered, START + HOUR), Turn::None);
        assert_eq!(it.disabled_reason, Some(DisabledReason::Gone));
        let settings = it.settings.clone();
        it.update(settings, START + 2 * HOUR);
        assert_eq!((it.status(), it.disabled_reason, it.updated_at), ("active", None, START + 2 * HOUR));
        assert!(it.may_send(START));
    }

    #[test]
    fn long_failure_disables_and_a_probe_revives() {
        let mut it = subscription();
        for hour in 0..72 {
            assert_eq!(it.observe(Outcome::Failed, START + hour * HOUR), Turn::None);
        }
        let end = START + 72 * HOUR;
        assert_eq!(it.observe(Outcome::Failed, end), Turn::Disabled(DisabledReason::Failing));
        assert!(!it.may_send(end) && it.may_send(end + HOUR));
        assert_eq!(it.observe(Outcome::Failed, end + HOUR), Turn::None);
        assert!(!it.may_send(end + HOUR) && it.may_send(end + 2 * HOUR));
        assert_eq!(it.observe(Outcome::Delivered, end + 2 * HOUR), Turn::Revived);
        assert_eq!((it.status(), it.failures, it.failing_since), ("active", 0, None));
    }

    #[test]
    fn rare_failures_far_apart_do_not_disable() {
        let mut it = subscription();
        for month in 0..19 {
            assert_eq!(it.observe(Outcome::Failed, START + month * 720 * HOUR), Turn::None);
        }
        assert_eq!(it.observe(Outcome::Delivered, START + 20 * 720 * HOUR), Turn::None);
        assert_eq!((it.failures, it.failing_since), (0, None));
    }

    #[test]
    fn a_rotated_secret_signs_for_24_hours() {
        let mut it = subscription();
        let live =
            |it: &Subscription, at| it.live_secrets(at).map(|it| it.expose_secret().to_owned()).collect::<Vec<_>>();
        assert_eq!(live(&it, START), ["whsec_first"]);
        it.rotate_secret("whsec_second".into(), START);
        assert_eq!(live(&it, START + 24 * HOUR - Duration::from_micros(1)), ["whsec_second", "whsec_first"]);
        assert_eq!(live(&it, START + 24 * HOUR), ["whsec_second"]);
        it.rotate_secret("whsec_third".into(), START + HOUR);
        assert_eq!(live(&it, START + HOUR), ["whsec_third", "whsec_second"]);
        assert!(!format!("{it:?}").contains("whsec_"));
    }
}
