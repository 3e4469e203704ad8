//! What is logged, and how it looks.

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
    #[arg(long, global = true, env = "CUSTOMERD_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people; coloured on a terminal unless `NO_COLOR` is set.
    Human,
    /// One JSON object a line.
    Json,
}
