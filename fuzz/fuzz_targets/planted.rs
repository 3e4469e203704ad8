//! Faults on purpose.

use std::sync::LazyLock;

static PLANTED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("FUZZ_PLANTED").is_some());

/// Panics where faults are planted.
pub(crate) fn fault() {
    assert!(!*PLANTED, "the planted fault");
}
