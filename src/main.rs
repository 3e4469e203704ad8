//! The `customerd` command.

fn main() -> std::process::ExitCode {
    customerd::cli::main()
}
