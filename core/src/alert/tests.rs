//! Courses of one series as a table, and what must hold of any course.

use super::*;
use crate::score::{Score, SeriesName};
use proptest::prelude::*;
use std::sync::Arc;

/// Windows of ten seconds; the clock of these tests is where event time is.
const WINDOW: Millis = 10_000;

fn rules() -> Rules {
    Rules {
        critical: 98.0,
        resolve_after: 3,
        repeat: 60_000,
        max_age: 900_000,
        tell: true,
        windows: BTreeMap::from([("d".to_owned(), (WINDOW, 0))]),
    }
}

/// The row of a series' window with this number, anomalous from a score of 90.
fn row(series: &str, window: Millis, score: f64) -> Score {
    let name = SeriesName { detector: "d".to_owned(), series: series.to_owned() };
    let (window_start, window_end) = (window * WINDOW, (window + 1) * WINDOW);
    Score { name, window_start, window_end, value: score, score, anomaly: score >= 90.0, ..Default::default() }
}

fn book(rules: Rules) -> Book {
    Book::new(Arc::new(rules))
}

fn everybody() -> Vec<Recipient> {
    [("all", Severity::Normal), ("bad", Severity::Critical)]
        .map(|(name, from)| Recipient { name: name.to_owned(), from })
        .to_vec()
}

/// Makes and delivers all messages that are due; what they say: channel, occasion, series.
fn deliver(book: &mut Book) -> Vec<(String, Occasion, String)> {
    batch(std::iter::once(&mut *book), &everybody());
    let messages = owed(std::iter::once(&*book));
    let mut said = Vec::new();
    for message in messages {
        for telling in &message.alerts {
            said.push((message.channel.clone(), telling.occasion, telling.alert.name.series.clone()));
        }
        book.delivered(&message.batch, &message.channel, &message.ids);
    }
    said
}

/// What channels hear of a course: one character a window (`.` quiet, `!` anomalous, `#` critical, `-` no row), each with
/// its own messages.
fn course(windows: &str, rules: Rules) -> Vec<String> {
    let mut book = book(rules);
    let mut said = Vec::new();
    for (window, c) in windows.chars().enumerate() {
        let window = window as Millis;
        let score = match c {
            '-' => continue,
            '!' => 91.0,
            '#' => 99.0,
            _ => 1.0,
        };
        book.row(&row("s", window, score), (window + 1) * WINDOW);
        said.extend(deliver(&mut book).into_iter().map(|(channel, what, _)| format!("{window} {channel} {what:?}")));
    }
    said
}

#[test]
fn courses() {
    let repeat_off = Rules { repeat: Millis::MAX, ..rules() };
    for (windows, expected) in [
        ("....", &[][..]),
        (".!!..", &["1 all Began"]),
        (".!!...", &["1 all Began", "5 all Over"]),
        // Two quiet windows in between do not end it; a third does.
        (".!..!..!...", &["1 all Began", "10 all Over"]),
        ("!...!...", &["0 all Began", "3 all Over", "4 all Began", "7 all Over"]),
        // Where quiet windows are not written, the gap tells.
        ("!.--!", &["0 all Began", "4 all Began", "4 all Over"]),
        ("!.-!.", &["0 all Began"]),
        ("!-----.", &["0 all Began", "6 all Over"]),
        // Critical from the start; then on the way, told once.
        ("#...", &["0 all Began", "0 bad Began", "3 all Over", "3 bad Over"]),
        ("!##!...", &["0 all Began", "1 all Escalated", "1 bad Escalated", "6 all Over", "6 bad Over"]),
    ] {
        assert_eq!(course(windows, repeat_off.clone()), expected, "{windows}");
    }
    let long = format!("{}...", "!".repeat(14));
    assert_eq!(course(&long, rules()), ["0 all Began", "6 all Repeated", "12 all Repeated", "16 all Over"]);
    assert_eq!(course(&long, Rules { tell: false, ..rules() }), Vec::<String>::new());
}

#[test]
fn transitions() {
    use State::{Acknowledged, Firing, Pending, Resolved};
    for (from, step, to) in [
        (Pending, Step::Told, Firing),
        (Pending, Step::Acknowledge, Acknowledged),
        (Pending, Step::Over, Resolved),
        (Firing, Step::Told, Firing),
        (Firing, Step::Acknowledge, Acknowledged),
        (Firing, Step::Over, Resolved),
        (Acknowledged, Step::Told, Acknowledged),
        (Acknowledged, Step::Acknowledge, Acknowledged),
        (Acknowledged, Step::Over, Resolved),
        (Resolved, Step::Told, Resolved),
        (Resolved, Step::Acknowledge, Resolved),
        (Resolved, Step::Over, Resolved),
    ] {
        assert_eq!(from.after(step), to, "{from:?} {step:?}");
    }
}

#[test]
fn history_is_recorded_and_not_told_unless_it_goes_on() {
    let mut book = book(rules());
    let late = 3_600_000;
    book.row(&row("over", 0, 95.0), late);
    book.row(&row("over", 3, 1.0), late);
    book.row(&row("on", 0, 95.0), late);
    assert_eq!(deliver(&mut book), []);
    let states: Vec<State> = book.take_changes().iter().map(|alert| alert.state).collect();
    assert_eq!(states.len(), 2);
    // Its rows have caught up with the clock.
    book.row(&row("on", 1, 95.0), 2 * WINDOW + 900_000);
    assert_eq!(deliver(&mut book), [("all".to_owned(), Occasion::Began, "on".to_owned())]);
    // Nothing more is there to read, and it goes on.
    book.row(&row("stands", 0, 95.0), late);
    book.caught_up(late + 59_000);
    assert_eq!(deliver(&mut book), []);
    book.caught_up(late + 60_000);
    assert_eq!(deliver(&mut book), [("all".to_owned(), Occasion::Began, "stands".to_owned())]);
    // Nothing more is there to read, and its last window was quiet: it does not go on.
    book.row(&row("past", 0, 95.0), late);
    book.row(&row("past", 1, 1.0), late);
    for later in [60_000, 600_000] {
        book.caught_up(late + later);
        assert_eq!(deliver(&mut book), []);
    }
}

#[test]
fn a_series_that_is_no_longer_reported_is_over() {
    let mut book = book(rules());
    book.row(&row("quiet", 0, 95.0), 0);
    book.row(&row("quiet", 1, 1.0), 0);
    book.row(&row("gone", 0, 95.0), 0);
    deliver(&mut book);
    book.caught_up(89_999);
    assert_eq!(deliver(&mut book), []);
    book.caught_up(90_000);
    assert_eq!(deliver(&mut book), [("all".to_owned(), Occasion::Over, "quiet".to_owned())]);
    book.caught_up(86_400_000);
    assert_eq!(deliver(&mut book), [("all".to_owned(), Occasion::Over, "gone".to_owned())]);
}

#[test]
fn an_acknowledged_alert_is_silent_until_it_is_over() {
    let mut book = book(rules());
    book.row(&row("s", 0, 95.0), 0);
    deliver(&mut book);
    let id = book.open_alerts().next().unwrap().clone();
    assert!(book.acknowledge(&id) && book.acknowledge(&id) && !book.acknowledge("other"));
    for window in 1..20 {
        book.row(&row("s", window, 99.0), 0);
    }
    assert_eq!(deliver(&mut book), []);
    book.row(&row("s", 30, 1.0), 0);
    let over = deliver(&mut book);
    assert_eq!(over.iter().map(|(_, what, _)| *what).collect::<Vec<_>>(), [Occasion::Over; 2]);
}

#[test]
fn open_alerts_are_bounded() {
    let mut book = book(rules());
    for series in 0..MOST_OPEN + 5 {
        book.row(&row(&series.to_string(), 0, 95.0), 0);
    }
    assert_eq!(book.open_alerts().len(), MOST_OPEN);
    assert_eq!(book.take_counts(), Counts { began: MOST_OPEN as u64, resolved: 0, beyond: 5, untold: 0 });
    batch(std::iter::once(&mut book), &everybody());
    let messages = owed(std::iter::once(&book));
    assert_eq!(messages.iter().map(|m| (m.alerts.len(), m.total)).collect::<Vec<_>>(), [(50, MOST_OPEN)]);
}

#[test]
fn what_no_channel_takes_is_bounded() {
    let mut book = book(rules());
    for series in 0..MOST_OPEN + 5 {
        let (name, begin) = (series.to_string(), series as Millis);
        book.row(&row(&name, begin, 95.0), 0);
        book.row(&row(&name, begin + 3, 1.0), 0);
        if series == 5_000 {
            book.take_changes();
        }
    }
    let last = book.take_changes();
    let Counts { began, resolved, untold, .. } = book.take_counts();
    assert_eq!((began, resolved, untold), (MOST_OPEN as u64 + 5, MOST_OPEN as u64 + 5, 5));
    let given_up = last.into_iter().filter(|alert| alert.owed.is_empty());
    let given_up: Vec<String> = given_up.map(|alert| alert.name.series).collect();
    assert_eq!((book.alerts.len(), given_up.len()), (MOST_OPEN, 5));
    assert!(given_up.iter().all(|series| series.parse::<usize>().unwrap() < 5), "the oldest: {given_up:?}");
    batch(std::iter::once(&mut book), &everybody());
    assert_eq!(owed(std::iter::once(&book)).iter().map(|message| message.total).max(), Some(MOST_OPEN));
}

#[test]
fn a_message_keeps_its_key_over_a_restart_and_loses_it_when_its_alerts_part() {
    let mut first = book(rules());
    let mut second = book(rules());
    first.row(&row("a", 0, 95.0), 0);
    second.row(&row("b", 0, 99.0), 0);
    batch([&mut first, &mut second].into_iter(), &everybody());
    let before = owed([&first, &second].into_iter());
    assert_eq!(before.iter().map(|m| (m.channel.as_str(), m.total)).collect::<Vec<_>>(), [("all", 2), ("bad", 1)]);
    assert_eq!(before[0].alerts[0].alert.name.series, "b", "the worst comes first");
    // Another alert begins while they are on the way.
    let mut again = [first, second].map(|mut book| restarted(&mut book, rules()));
    again[0].row(&row("c", 0, 95.0), 0);
    let after = owed(again.iter());
    assert_eq!(after.iter().map(|m| &m.key).collect::<Vec<_>>(), before.iter().map(|m| &m.key).collect::<Vec<_>>());
    // One partition went to another instance: what each tells is a message of its own.
    let apart = owed(again[..1].iter());
    assert!(apart.len() == 1 && apart[0].key != before[0].key);
    // It comes back while the message of the other one is on the way, which does not tell of it.
    again.iter_mut().for_each(|book| book.delivered(&apart[0].batch, &apart[0].channel, &apart[0].ids));
    let rest = owed(again.iter());
    let of = |message: &Message| (message.channel.clone(), message.alerts[0].alert.name.series.clone());
    assert_eq!(rest.iter().map(of).collect::<Vec<_>>(), [("all".into(), "b".into()), ("bad".into(), "b".into())]);
}

/// While a message waits for others, what it was to say may be said by the next one.
#[test]
fn an_alert_is_in_a_message_once() {
    let mut book = book(rules());
    book.row(&row("s", 0, 91.0), WINDOW);
    deliver(&mut book);
    for window in 1..=7 {
        book.row(&row("s", window, if window < 7 { 91.0 } else { 99.0 }), (window + 1) * WINDOW);
    }
    batch(std::iter::once(&mut book), &everybody());
    let messages = owed(std::iter::once(&book));
    let said: Vec<_> = messages.iter().map(|m| (m.channel.as_str(), m.total, m.alerts[0].occasion)).collect();
    assert_eq!(said, [("all", 1, Occasion::Escalated), ("bad", 1, Occasion::Escalated)]);
}

#[test]
fn whoever_does_not_notify_owes_nothing() {
    let mut teller = book(rules());
    teller.row(&row("a", 0, 95.0), 0);
    let mut silent = restarted(&mut teller, Rules { tell: false, ..rules() });
    assert_eq!(deliver(&mut silent), []);
    silent.row(&row("a", 9, 1.0), 0);
    assert_eq!(deliver(&mut silent), []);
    assert_eq!(silent.take_changes().last().map(|alert| alert.state), Some(State::Resolved));
}

/// A book made from what another one wrote.
fn restarted(book: &mut Book, rules: Rules) -> Book {
    let mut again = self::book(rules);
    for alert in book.take_changes() {
        let bytes = serde_json::to_vec(&alert).unwrap();
        again.restore(Alert::parse(&bytes).unwrap(), 0);
    }
    again
}

/// Rows of a few series, each in the order of its windows.
fn rows() -> impl Strategy<Value = Vec<Score>> {
    let score = prop_oneof![3 => Just(1.0), 2 => Just(91.0), 1 => Just(99.0)];
    proptest::collection::vec((0..3u8, 1..5i64, score), 0..80).prop_map(|steps| {
        let mut next = [0; 3];
        let of = |(series, gap, score): (u8, i64, f64)| {
            next[series as usize] += gap;
            row(&series.to_string(), next[series as usize], score)
        };
        steps.into_iter().map(of).collect()
    })
}

/// Everything that is told, by series in its order, and the last record of each alert.
fn outcome(rows: &[Score]) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, Alert>) {
    let mut book = book(rules());
    let (mut told, mut last) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
    for row in rows {
        book.row(row, row.window_end);
        for (channel, what, series) in deliver(&mut book) {
            told.entry(series).or_default().push(format!("{} {channel} {what:?}", row.window_end));
        }
        last.extend(book.take_changes().into_iter().map(|alert| (alert.id.clone(), Alert { heard: 0, ..alert })));
    }
    (told, last)
}

proptest! {
    #[test]
    fn series_do_not_depend_on_each_other(rows in rows()) {
        let mut apart = rows.clone();
        apart.sort_by(|a, b| a.name.cmp(&b.name));
        prop_assert_eq!(outcome(&rows), outcome(&apart));
    }

    #[test]
    fn a_row_that_comes_again_changes_nothing(rows in rows(), back in 1usize..40) {
        let twice: Vec<Score> = rows.iter().enumerate().flat_map(|(i, row)| {
            let earlier = rows[i.saturating_sub(back)..=i].iter().cloned();
            std::iter::once(row.clone()).chain(earlier)
        }).collect();
        let (told, last) = outcome(&twice);
        let by_time = |told: BTreeMap<String, Vec<String>>| told.into_values().map(|all| all.len()).collect::<Vec<_>>();
        let once = outcome(&rows);
        prop_assert_eq!(by_time(told), by_time(once.0));
        prop_assert_eq!(last, once.1);
    }

    #[test]
    fn messages_are_few_and_in_order(rows in rows()) {
        let mut book = book(rules());
        let mut of: BTreeMap<String, Vec<(Occasion, Millis)>> = BTreeMap::new();
        for row in &rows {
            book.row(row, row.window_end);
            batch(std::iter::once(&mut book), &everybody());
            for message in owed(std::iter::once(&book)) {
                for Telling { occasion, alert } in message.alerts.iter().filter(|_| message.channel == "all") {
                    of.entry(alert.id.clone()).or_default().push((*occasion, row.window_end));
                }
                book.delivered(&message.batch, &message.channel, &message.ids);
            }
        }
        for told in of.values() {
            let count = |what| told.iter().filter(|(occasion, _)| *occasion == what).count();
            prop_assert!(told[0].0 == Occasion::Began && count(Occasion::Began) == 1, "{:?}", told);
            prop_assert!(count(Occasion::Escalated) <= 1 && count(Occasion::Over) <= 1, "{:?}", told);
            prop_assert!(told.iter().rev().skip(1).all(|(what, _)| *what != Occasion::Over), "{:?}", told);
            for (before, (what, at)) in told.iter().zip(&told[1..]) {
                prop_assert!(*what != Occasion::Repeated || at - before.1 >= rules().repeat, "{:?}", told);
            }
        }
    }

    #[test]
    fn a_restart_at_any_time_changes_nothing(rows in rows(), at in proptest::collection::vec(any::<bool>(), 80)) {
        let run = |restarts: &[bool]| {
            let mut running = book(rules());
            let mut written: Vec<Alert> = Vec::new();
            let mut told = Vec::new();
            for (i, row) in rows.iter().enumerate() {
                running.row(row, row.window_end);
                batch(std::iter::once(&mut running), &everybody());
                written.extend(running.take_changes());
                if restarts.get(i).copied().unwrap_or(false) {
                    running = book(rules());
                    for alert in &written {
                        running.restore(Alert::parse(&serde_json::to_vec(alert).unwrap()).unwrap(), 0);
                    }
                }
                for message in owed(std::iter::once(&running)) {
                    told.push((i, message.key, message.channel.clone()));
                    running.delivered(&message.batch, &message.channel, &message.ids);
                }
                written.extend(running.take_changes());
            }
            told
        };
        prop_assert_eq!(run(&at), run(&[]));
    }
}
