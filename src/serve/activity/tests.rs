//! What a connection is doing, minute by minute.

use super::*;
use crate::domain::Timestamp;
use crate::serve::RESPONSE_RATE;

fn start() -> (Clock, Activity, Limits) {
    let clock = Clock::manual(Timestamp::EPOCH, 0);
    (clock.clone(), Activity::new(clock, Unread::new(1000)), Limits::default())
}

#[test]
fn headers_idle_and_stall_have_their_own_limits() {
    let (clock, activity, limits) = start();
    let second = Duration::from_secs(1);
    clock.advance(9 * second);
    activity.read(b"GET / HTTP");
    assert_eq!(activity.overdue(&limits), None);
    clock.advance(second);
    assert_eq!(activity.overdue(&limits), Some(Cut::Headers), "trickling does not help");
    activity.request_begins();
    activity.read(b"the body");
    clock.advance(1000 * second);
    assert_eq!(activity.overdue(&limits), None, "a request at work has its own deadline");
    activity.request_ends();
    clock.advance(74 * second);
    assert_eq!(activity.overdue(&limits), None);
    clock.advance(second);
    assert_eq!(activity.overdue(&limits), Some(Cut::Idle));
    activity.request_begins();
    activity.written(None);
    clock.advance(74 * second);
    activity.written(None);
    assert_eq!(activity.overdue(&limits), None);
    clock.advance(second);
    assert_eq!(activity.overdue(&limits), Some(Cut::Stalled));
    activity.written(Some(1));
    assert_eq!(activity.overdue(&limits), None);
}

#[test]
fn http2_may_talk_before_it_asks() {
    let (clock, activity, limits) = start();
    activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    clock.advance(Duration::from_secs(30));
    activity.read(b"\0\0\x08\x06\0\0\0\0\0pingpong");
    clock.advance(Duration::from_secs(44));
    assert_eq!(activity.overdue(&limits), None);
    clock.advance(Duration::from_secs(1));
    assert_eq!(activity.overdue(&limits), Some(Cut::Idle), "pings keep nothing open");
}

#[test]
fn headers_have_their_time_whatever_they_begin_with_and_whatever_else_is_in_flight() {
    let (clock, activity, limits) = start();
    activity.read(b"PRI");
    clock.advance(Duration::from_secs(10));
    assert_eq!(activity.overdue(&limits), Some(Cut::Headers));

    let (clock, activity, limits) = start();
    activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    activity.request_begins();
    activity.read(b"\0\0\x08\x01");
    activity.request_begins();
    for _ in 0..9 {
        clock.advance(Duration::from_secs(1));
        activity.read(b"\0");
        assert_eq!(activity.overdue(&limits), None);
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(activity.overdue(&limits), Some(Cut::Headers));
}

#[test]
fn a_response_that_is_not_read_gets_goaway_and_is_then_closed() {
    let (clock, activity, limits) = start();
    activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    activity.request_begins();
    let (_, unasked) = activity.response_begins(None, false);
    let (_, waiting) = activity.response_begins(None, false);
    waiting.asked(std::task::Waker::noop());
    clock.advance(Duration::from_secs(29));
    assert_eq!(activity.overdue(&limits), None);
    activity.written(Some(1 << 20));
    clock.advance(Duration::from_secs(1));
    assert_eq!(activity.overdue(&limits), Some(Cut::Unread), "whatever else is written");
    activity.close_in(limits.stall_timeout);
    assert_eq!(activity.overdue(&limits), None);
    clock.advance(Duration::from_secs(30));
    assert_eq!(activity.overdue(&limits), Some(Cut::GraceExpired));
    drop(unasked);
}

#[test]
fn progress_is_what_leaves() {
    let (clock, activity, limits) = start();
    activity.request_begins();
    let (id, response) = activity.response_begins(None, false);
    response.asked(std::task::Waker::noop());
    let steady = 29 * usize::try_from(RESPONSE_RATE).unwrap();
    response.queued(10 * steady);
    for _ in 0..10 {
        clock.advance(Duration::from_secs(29));
        response.took(steady);
        assert_eq!(activity.overdue(&limits), None, "slow, but steady");
    }
    clock.advance(Duration::from_secs(29));
    // What is copied into the socket's buffer still leaves.
    activity.written(Some(steady));
    activity.written(Some(steady * 10));
    clock.advance(Duration::from_secs(29));
    assert_eq!(activity.overdue(&limits), None);
    response.asked(std::task::Waker::noop());
    clock.advance(Duration::from_secs(3600));
    assert_eq!(activity.overdue(&limits), None, "nothing to take");
    std::task::Wake::wake(Arc::clone(&response));
    clock.advance(Duration::from_secs(30));
    assert_eq!(activity.overdue(&limits), Some(Cut::Unread), "something to take, and no room for it");
    activity.response_ends(id);
    assert_eq!(activity.overdue(&limits), None);
}

#[test]
fn a_byte_now_and_then_is_no_progress() {
    for http2 in [true, false] {
        let (clock, activity, limits) = start();
        if http2 {
            activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        }
        activity.request_begins();
        let (_, response) = activity.response_begins(Some(100), false);
        response.queued(100);
        for _ in 0..3 {
            clock.advance(Duration::from_secs(9));
            assert_eq!((activity.overdue(&limits), activity.rank(limits.stall_timeout)), (None, None));
            if http2 { response.took(1) } else { activity.written(Some(1)) }
        }
        clock.advance(Duration::from_secs(4));
        assert_eq!(activity.overdue(&limits), Some(Cut::Unread), "HTTP/2: {http2}");
    }
}

#[test]
fn what_waits_for_nothing_but_its_peer_ranks_behind_the_idle() {
    let (clock, activity, limits) = start();
    let rank = || activity.rank(limits.stall_timeout);
    let idle = rank().unwrap();
    activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    activity.request_begins();
    let (_, watch) = activity.response_begins(None, true);
    assert_eq!(rank(), None, "it has something to say");
    watch.asked(std::task::Waker::noop());
    assert!(rank().unwrap() > idle);
    activity.request_begins();
    assert_eq!(rank(), None, "another request is being answered");
    let (_, followed) = activity.response_begins(None, false);
    followed.asked(std::task::Waker::noop());
    clock.advance(Duration::from_secs(100));
    assert_eq!(rank(), None, "a stream of somebody's own is work");
    followed.asked(std::task::Waker::noop());
    followed.queued(1);
    clock.advance(Duration::from_secs(29));
    assert_eq!(rank(), None, "its message has only just come");
    clock.advance(Duration::from_secs(1));
    assert!(rank().unwrap() > idle, "until it is not read");
    followed.took(1);
    followed.asked(std::task::Waker::noop());
    assert_eq!(rank(), None);
    activity.close_in(limits.stall_timeout);
    assert!(rank().unwrap() > idle, "told to go");
}

#[test]
fn what_is_not_read_is_counted_until_it_has_left() {
    let (_, activity, _) = start();
    let (id, known) = activity.response_begins(Some(700), false);
    assert_eq!(activity.unread_bytes(), 700);
    known.asked(std::task::Waker::noop());
    known.queued(700);
    known.took(400);
    assert_eq!(activity.unread_bytes(), 700, "the whole is in memory until its last byte has left");
    known.ends();
    activity.response_ends(id);
    assert_eq!(activity.unread_bytes(), 0);
    let (_, stream) = activity.response_begins(None, false);
    let message = activity.unread_bytes();
    assert!(message > 1000, "nobody knows how long its first message is");
    stream.asked(std::task::Waker::noop());
    assert_eq!(activity.unread_bytes(), 0, "it has none");
    stream.queued(100);
    assert_eq!(activity.unread_bytes(), message + 100);
    stream.took(100);
    stream.body_ends();
    stream.ends();
    assert_eq!(activity.unread_bytes(), 0);
}

#[test]
fn few_responses_may_be_stalled_at_once() {
    let (clock, activity, limits) = start();
    activity.request_begins();
    let _eight = [(); 8].map(|()| activity.response_begins(None, false));
    clock.advance(Duration::from_secs(30));
    assert_eq!(activity.overdue(&limits), Some(Cut::Unread));
    let _ninth = activity.response_begins(None, false);
    clock.advance(Duration::from_secs(30));
    assert_eq!(activity.overdue(&limits), Some(Cut::TooManyUnread));
}
