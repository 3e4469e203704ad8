//! A page that says one thing, and the error page.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::page;

/// The feel of a message: its colour and its sign.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Tone {
    /// Wait or carry on.
    #[default]
    Info,
    /// Done.
    Good,
    /// Something is to be done.
    Warn,
    /// It ended badly.
    Bad,
}

impl Tone {
    /// The class of `main` in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    /// The sign's path: a clock, a tick, an exclamation mark, a cross.
    pub(super) fn drawing(self) -> &'static str {
        match self {
            Self::Info => "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18M12 7v5l3.2 2",
            Self::Good => "M5 12.5l4.5 4.5L19 7.5",
            Self::Warn => "M12 5v9M12 18.5v.01",
            Self::Bad => "M7 7l10 10M17 7L7 17",
        }
    }
}

/// The one thing that can be done on a page.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) label: &'static str,
    pub(super) href: String,
}

const PERSONAL: &str = "This link is personal. Please do not share it.";

#[derive(Debug, Default, Template)]
#[template(path = "pages/message.html")]
pub(super) struct Message {
    pub(super) tone: Tone,
    pub(super) title: &'static str,
    pub(super) paragraphs: Vec<&'static str>,
    pub(super) reasons: Vec<String>,
    pub(super) after_reasons: Option<&'static str>,
    pub(super) action: Option<Action>,
    /// Which of the three steps is the present one.
    pub(super) step: Option<u8>,
    pub(super) sandbox: bool,
    pub(super) footer: String,
}

impl Message {
    pub(super) fn new(tone: Tone, title: &'static str, paragraphs: &[&'static str]) -> Self {
        Self { tone, title, paragraphs: paragraphs.to_vec(), footer: PERSONAL.to_owned(), ..Self::default() }
    }

    pub(super) fn because(self, reasons: &[String]) -> Self {
        Self { reasons: reasons.to_vec(), ..self }
    }

    pub(super) fn with_action(self, label: &'static str, href: &str) -> Self {
        Self { action: Some(Action { label, href: href.to_owned() }), ..self }
    }

    pub(super) fn at_step(self, step: u8) -> Self {
        Self { step: Some(step), ..self }
    }
}

/// Something that went wrong with a page.
#[derive(Debug, Clone, Copy)]
pub struct ErrorView<'a> {
    /// The answer's status.
    pub status: StatusCode,
    /// The request id, by which support finds what happened.
    pub request_id: Option<&'a str>,
}

impl ErrorView<'_> {
    /// An error without a request id.
    pub const fn new(status: StatusCode) -> Self {
        Self { status, request_id: None }
    }
}

/// A page for a request that cannot be served. Says nothing of the inside.
pub fn error_page(view: &ErrorView<'_>) -> Response {
    let (title, text) = match view.status {
        StatusCode::NOT_FOUND => {
            ("This page does not exist", "Please check the address, or go back to the app or site that sent you here.")
        }
        StatusCode::METHOD_NOT_ALLOWED => ("This cannot be done here", "Please go back and open the link again."),
        StatusCode::TOO_MANY_REQUESTS => ("Too many tries", "Please wait a minute, then try again."),
        status if status.is_client_error() => {
            ("This request was not understood", "Please go back and open the link again.")
        }
        _ => ("Something went wrong", "The fault is ours, and nothing is lost. Please try again in a few minutes."),
    };
    let mut message = Message::new(Tone::Warn, title, &[text]);
    message.footer = match view.request_id {
        Some(id) => format!("If you ask for help, mention this reference: {id}"),
        None => String::new(),
    };
    page(view.status, &message)
}
