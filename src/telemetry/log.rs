//! Log lines: for people, or JSON, on stderr.

use std::io::IsTerminal;

use anyhow::Context as _;
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{MakeWriter, fmt};

use crate::clock::Clock;
use crate::config::{Log, LogFormat};

/// Starts logging to stderr, for the life of the process. In colour only on a terminal, and not where `NO_COLOR` is set. Lines
/// that cannot be written are lost: the service goes on when nobody reads its log any more.
///
/// # Errors
/// The filter cannot be read, or logging has been started before.
pub fn init(log: &Log, clock: &Clock) -> anyhow::Result<()> {
    let subscriber = lines(log, in_colour(&std::io::stderr()), (clock, std::io::stderr))?;
    tracing::subscriber::set_global_default(subscriber).context("logging was started twice")
}

/// Whether what is written there may have colours: on a terminal, unless `NO_COLOR` says otherwise (<https://no-color.org>).
pub fn in_colour(to: &impl IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The subscriber that writes the lines, times taken from the clock.
///
/// # Errors
/// The filter cannot be read.
pub fn lines<W>(log: &Log, colour: bool, to: (&Clock, W)) -> anyhow::Result<Box<dyn Subscriber + Send + Sync>>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&log.log).with_context(|| {
        format!("cannot read the log filter {:?}: want such as info,customerd::serve=debug", log.log)
    })?;
    let (clock, writer) = to;
    let builder = fmt()
        .with_writer(writer)
        .with_timer(Time(clock.clone()))
        .with_env_filter(filter)
        // It would be told on stderr by `eprintln!`, which panics where stderr is what cannot be written, and so end the task
        // that logs: the one that waits for SIGTERM too.
        .log_internal_errors(false);
    Ok(match log.log_format {
        LogFormat::Human => Box::new(builder.with_ansi(colour).finish()),
        LogFormat::Json => Box::new(builder.with_ansi(false).json().flatten_event(true).with_span_list(false).finish()),
    })
}

struct Time(Clock);

impl FormatTime for Time {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(w, "{}", self.0.now())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::domain::Timestamp;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(log_format: LogFormat, colour: bool) -> String {
        let (page, clock) = (Page::default(), Clock::manual(Timestamp::from_unix_seconds(1_795_347_600), 0));
        let (log, writer) = (Log { log_format, log: "info".to_owned() }, page.clone());
        let subscriber = lines(&log, colour, (&clock, move || writer.clone())).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request", request_id = "r-1");
            let _entered = span.enter();
            tracing::info!(target: "customerd::access", status = 200, "done");
            tracing::debug!("not at this level");
        });
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn people_get_plain_lines() {
        insta::assert_snapshot!(written(LogFormat::Human, false), @r#"2026-11-22T11:40:00.000000Z  INFO request{request_id="r-1"}: customerd::access: done status=200"#);
    }

    #[test]
    fn a_terminal_gets_colours() {
        assert!(written(LogFormat::Human, true).contains('\x1b'));
        assert!(!written(LogFormat::Json, true).contains('\x1b'));
    }

    #[test]
    fn machines_get_json() {
        insta::assert_snapshot!(written(LogFormat::Json, false), @r#"{"timestamp":"2026-11-22T11:40:00.000000Z","level":"INFO","message":"done","status":200,"target":"customerd::access","span":{"request_id":"r-1","name":"request"}}"#);
    }

    #[test]
    fn a_bad_filter_is_explained() {
        let log = Log { log_format: LogFormat::Human, log: "customerd=loud".to_owned() };
        let clock = Clock::manual(Timestamp::EPOCH, 0);
        let error = lines(&log, false, (&clock, std::io::sink)).err().unwrap();
        assert!(error.to_string().starts_with("cannot read the log filter \"customerd=loud\""), "{error}");
    }
}
