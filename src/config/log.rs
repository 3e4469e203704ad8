//! What is logged, and how it looks.

use tracing_subscriber::filter::{EnvFilter, LevelFilter};

/// Log settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Logs")]
pub struct Log {
    /// How log lines look: for people, or one JSON object a line
    #[arg(
        long,
        global = true,
        env = "CUSTOMERD_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value = "human"
    )]
    pub log_format: LogFormat,

    /// What is logged, as tracing's directives: a level, or target=level, separated by commas
    #[arg(long, global = true, env = "CUSTOMERD_LOG", value_name = "FILTER", default_value = "info", value_parser = filter)]
    pub log: String,
}

/// Refuses what would silence everything: a word that is not a level is a target to tracing, one that no line has.
fn filter(text: &str) -> Result<String, String> {
    let wanted =
        "want a level (off, error, warn, info, debug, trace), or target=level such as info,customerd::serve=debug";
    // Fields of spans may hold commas; such directives say their level, or tracing refuses them.
    let bare = |directive: &&str| !directive.contains(['=', '[', ']', '{', '}']);
    for directive in text.split(',').map(str::trim).filter(bare) {
        // To tracing an empty one is `error`.
        if directive.is_empty() || directive.parse::<LevelFilter>().is_err() {
            return Err(format!("{directive:?} is no level: {wanted}"));
        }
    }
    EnvFilter::try_new(text).map_err(|error| format!("{error}: {wanted}"))?;
    Ok(text.to_owned())
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people; coloured on a terminal unless `NO_COLOR` is set.
    Human,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn a_filter_names_levels() {
        for good in ["info", "WARN", "off", "2", "info,customerd::serve=debug", "customerd[request{id=1}]=trace,warn"] {
            assert_eq!(filter(good).as_deref(), Ok(good));
        }
        for bad in ["bananas", "info,customerd", "", "customerd=loud", "info,,warn", "[=x"] {
            let error = filter(bad).unwrap_err();
            assert!(error.contains("want a level (off, error, warn, info, debug, trace)"), "{bad}: {error}");
        }
    }
}
