//! The limit of open files, as it is found at start.

use crate::process::Place;

#[test]
fn the_soft_limit_is_raised_and_a_hard_one_that_is_too_low_is_logged() {
    let warning = "the limit of open files is 600, and 8192 connections may come";
    let place = Place::sqlite();
    let low = place.serve_with_files(300, 600);
    assert_eq!(low.open_files(), (600, 600));
    assert!(low.said().contains(warning), "{}", low.said());
    assert_eq!(low.stop(), Some(0));

    let enough = place.serve_with_files(300, 8448);
    assert_eq!(enough.open_files(), (8448, 8448));
    assert!(!enough.said().contains("the limit of open files"), "{}", enough.said());
    assert_eq!(enough.stop(), Some(0));
}
