//! The sandbox's portal, where a person plays the verification partner.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::message::{Message, Tone};
use super::page;

/// What the portal shows.
#[derive(Debug, Clone, Copy)]
pub struct PortalView<'a> {
    /// Where the form goes: our own path, which ends in the unguessable token. The token is what tells a form that
    /// came from this page from a forged one.
    pub action: &'a str,
    /// The customer's CAIP-10 account id; shown masked.
    pub account: &'a str,
}

#[derive(Template)]
#[template(path = "pages/portal.html")]
struct Portal<'a> {
    action: &'a str,
    account: String,
}

/// The portal: three buttons. The form posts `decision` = `approve`, `more_information` or `decline`.
pub fn portal_page(view: &PortalView<'_>) -> Response {
    page(StatusCode::OK, &Portal { action: view.action, account: mask_account(view.account) })
}

/// How a person decided in the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneView {
    /// Approved.
    Approved,
    /// More information was asked for.
    MoreInformation,
    /// Declined for good.
    Declined,
}

/// What the portal says after a choice. `back` is the verification link, where the customer would go on.
pub fn done_page(view: DoneView, back: &str) -> Response {
    let (tone, title, text) = match view {
        DoneView::Approved => (Tone::Good, "Approved", "The customer becomes active in a moment."),
        DoneView::MoreInformation => (
            Tone::Warn,
            "More information requested",
            "The customer stays in verification and can continue by the same link.",
        ),
        DoneView::Declined => (Tone::Bad, "Declined", "The customer is rejected for good in a moment."),
    };
    let mut message = Message::new(tone, title, &[text]).with_action("See what the customer sees", back);
    message.sandbox = true;
    message.footer = "For testing only. This page does not exist for live programmes.".to_owned();
    page(StatusCode::OK, &message)
}

/// A CAIP-10 account id that its owner recognises and nobody else can use: `0xab16…fcdb on eip155:1`.
pub fn mask_account(account: &str) -> String {
    const SHOWN: usize = 4;
    let (chain, address) = account.rsplit_once(':').unwrap_or(("", account));
    let (prefix, digits) = match address.strip_prefix("0x") {
        Some(digits) => ("0x", digits),
        None => ("", address),
    };
    let letters: Vec<char> = digits.chars().collect();
    let masked = if letters.len() > 3 * SHOWN {
        let (head, tail) = (&letters[..SHOWN], &letters[letters.len() - SHOWN..]);
        format!("{prefix}{}…{}", head.iter().collect::<String>(), tail.iter().collect::<String>())
    } else {
        "…".to_owned()
    };
    // A Solana chain reference is as long as an address: its head is enough.
    let chain: String = match chain.char_indices().nth(16) {
        Some((end, _)) => format!("{}…", &chain[..end]),
        None => chain.to_owned(),
    };
    if chain.is_empty() { masked } else { format!("{masked} on {chain}") }
}
