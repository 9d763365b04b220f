//! `quip-load search`: how long it takes to index a client's copy and to look in it. No server is involved.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use quip_protocol::{AccountName, Event, RoomId, Seq, Timestamp};
use quip_storage::Replica;
use quip_storage::search::{Index, Query, Seeker, Term};
use serde::Serialize;

use crate::cli::SearchArgs;
use crate::report::round;
use quip_tests::process::Process;
use quip_tests::{Random, copied};

/// Words of the invented language; of the n-th most common one there are so many as of the first, over n.
const VOCABULARY: f64 = 50_000.0;
/// Messages that are shown as one types.
const MOST: usize = 200;

/// The figures of a run.
#[derive(Debug, Serialize)]
pub struct SearchReport {
    scenario: &'static str,
    messages: u64,
    rooms: u64,
    replica_bytes: u64,
    first_build_s: f64,
    index_bytes: u64,
    /// Until 100 messages that came live can be found.
    catch_up_100_ms: f64,
    rss_kib: Option<u64>,
    queries: Vec<QueryReport>,
}

/// The figures of one query, repeated.
#[derive(Debug, Serialize)]
struct QueryReport {
    query: &'static str,
    found: usize,
    p50_ms: f64,
    p99_ms: f64,
}

impl SearchReport {
    /// As lines for people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "messages {}, rooms {}\nreplica {} MiB, index {} MiB\nfirst build {} s, 100 more {} ms\n",
            self.messages,
            self.rooms,
            self.replica_bytes >> 20,
            self.index_bytes >> 20,
            self.first_build_s,
            self.catch_up_100_ms
        );
        if let Some(kib) = self.rss_kib {
            text += &format!("resident memory {} MiB\n", kib >> 10);
        }
        for query in &self.queries {
            let QueryReport { query, found, p50_ms, p99_ms } = query;
            text += &format!("{query:<22} {found:>4} found   p50 {p50_ms:>8} ms   p99 {p99_ms:>8} ms\n");
        }
        text
    }
}

/// Runs it, in a directory of its own that is removed.
///
/// # Errors
/// When the disk or a file fails, or something is not found.
pub fn run(args: &SearchArgs) -> Result<SearchReport> {
    let dir = tempfile::tempdir().context("a directory for the copy")?;
    let (replica, _) = Replica::open(dir.path().join("replica"))?;
    let mut random = Random::new(0x9E37_79B9_7F4A_7C15);
    fill(&replica, args, &mut random)?;
    let begun = Instant::now();
    let search = dir.path().join("search");
    let mut index = Index::open(&search, &replica)?;
    while index.catch_up(&replica)? > 0 {}
    let first_build_s = round(begun.elapsed().as_secs_f64());
    let catch_up_100_ms = come_live(&replica, &mut index, args, &mut random)?;
    let seeker = Seeker::open(&search)?;
    let queries =
        questions().into_iter().map(|(name, query)| ask(&seeker, &replica, (name, &query), args.repeat));
    let queries = queries.collect::<Result<Vec<_>>>()?;
    ensure!(queries.iter().any(|query| query.found == MOST), "what is common is found");
    Ok(SearchReport {
        scenario: "search",
        messages: args.messages,
        rooms: args.rooms,
        replica_bytes: copied::bytes(&dir.path().join("replica"))?,
        first_build_s,
        index_bytes: copied::bytes(&search)?,
        catch_up_100_ms,
        rss_kib: Process::this().rss_kib(),
        queries,
    })
}

fn fill(replica: &Replica, args: &SearchArgs, random: &mut Random) -> Result<()> {
    let name = |room| format!("#room{room}").parse().expect("a valid name");
    copied::fill(replica, 0..args.rooms, args.messages, name, |room, seq| message(room, seq, random))
}

/// 100 messages of one room, as they come; how long until they can be found.
fn come_live(replica: &Replica, index: &mut Index, args: &SearchArgs, random: &mut Random) -> Result<f64> {
    // Far behind the others of the room: between them there is a hole.
    let head = 2 * args.messages;
    let begun = Instant::now();
    let messages: Vec<Event> = (head + 1..=head + 100).map(|seq| message(0, seq, random)).collect();
    replica.insert(RoomId(0), &messages, Seq(head))?;
    while index.catch_up(replica)? > 0 {}
    Ok(round(begun.elapsed().as_secs_f64() * 1_000.0))
}

fn questions() -> Vec<(&'static str, Query)> {
    let words = |words: &[(u64, usize)]| {
        let term = |(number, letters): &(u64, usize)| {
            let word = word(*number);
            // What is shorter than the word is its beginning.
            let letters = (*letters).min(word.len());
            Term::new(&word[..letters], letters < word.len())
        };
        Query { terms: words.iter().filter_map(term).collect(), ..Query::default() }
    };
    let of = |query: Query| Query { from: Some(author(3)), ..query };
    let in_room = |query: Query| Query { room: "#room7".parse().ok(), ..query };
    vec![
        ("one, very common", words(&[(1, 99)])),
        ("one, common", words(&[(100, 99)])),
        ("one, rare", words(&[(40_000, 99)])),
        ("two, very common", words(&[(1, 99), (2, 99)])),
        ("two, common", words(&[(100, 99), (300, 99)])),
        ("very common and rare", words(&[(1, 99), (40_000, 99)])),
        ("three, very common", words(&[(1, 99), (2, 99), (3, 99)])),
        ("beginning, 1 letter", words(&[(1, 1)])),
        ("beginning, 2 letters", words(&[(1, 2)])),
        ("beginning, 3 letters", words(&[(1, 3)])),
        ("beginning, 4 letters", words(&[(1, 4)])),
        ("word and a beginning", words(&[(2, 99), (1, 3)])),
        ("common, of a room", in_room(words(&[(1, 99)]))),
        ("common, by an author", of(words(&[(1, 99)]))),
        ("two, room and author", of(in_room(words(&[(1, 99), (2, 99)])))),
        ("all by an author", of(Query::default())),
    ]
}

fn ask(
    seeker: &Seeker,
    replica: &Replica,
    (name, query): (&'static str, &Query),
    repeat: u32,
) -> Result<QueryReport> {
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..repeat {
        let begun = Instant::now();
        found = seeker.find(replica, query, MOST)?.len();
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |of_hundred: usize| round(times[(times.len() * of_hundred / 100).min(times.len() - 1)]);
    Ok(QueryReport { query: name, found, p50_ms: at(50), p99_ms: at(99) })
}

fn author(number: u64) -> AccountName {
    format!("person-{number}").parse().expect("a valid name")
}

fn message(room: u64, seq: u64, random: &mut Random) -> Event {
    let words: Vec<String> = (0..8 + random.any() % 9).map(|_| word(rank(random))).collect();
    // Rooms speak in turn, some minutes apart.
    let at = Timestamp(1_700_000_000_000 + seq * 600_000 + room * 1_000);
    copied::message(room, seq, at, author(random.any() % 100), &words.join(" "))
}

/// The word of this rank, always the same; the ranks of words of one beginning are far from each other.
fn word(rank: u64) -> String {
    let mut rest = rank.wrapping_mul(2_654_435_761) % 11_881_376 + 475_254;
    let mut word = String::new();
    while rest > 0 {
        word.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0)));
        rest /= 26;
    }
    word
}

/// A word's rank: common ones often.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rank is small and positive"
)]
fn rank(random: &mut Random) -> u64 {
    VOCABULARY.powf(random.below(1_000_000) as f64 / 1e6) as u64
}
