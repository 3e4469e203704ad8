//! One fuzzer for all parsers that strangers reach: `FUZZ_TARGET` names the one to run, and [`targets::ALL`] lists them.
//!
//! One binary for all, because linking is slow. libFuzzer is guided by the coverage of our own crates alone, which
//! `fuzz/instrument` compiles with LLVM's coverage counters; that needs no nightly toolchain.
//!
//! With `FUZZ_PLANTED` set, each target panics on an input that has come deep into its parser. `fuzz/run` uses that to prove that
//! the fuzzer finds what there is to find.
#![no_main]

mod planted;
mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let known = targets::ALL.iter().find(|(known, _)| *known == name);
    let names = || targets::ALL.map(|(name, _)| name).join(", ");
    known.unwrap_or_else(|| panic!("FUZZ_TARGET must be one of {}", names())).1
});

fuzz_target!(|data: &[u8]| (*TARGET)(data));
