//! Names of emoji: one table, for completion and `/react`. Imports nothing.

/// Names without their colons, and what they stand for; the ones used in talk about work.
pub const TABLE: &[(&str, &str)] = &[
    ("+1", "👍"),
    ("-1", "👎"),
    ("100", "💯"),
    ("bug", "🐛"),
    ("check", "✅"),
    ("clap", "👏"),
    ("coffee", "☕"),
    ("confused", "😕"),
    ("cry", "😢"),
    ("eyes", "👀"),
    ("fire", "🔥"),
    ("grin", "😁"),
    ("heart", "🧡"),
    ("hourglass", "⏳"),
    ("joy", "😂"),
    ("laughing", "😆"),
    ("lock", "🔒"),
    ("muscle", "💪"),
    ("no", "❌"),
    ("ok", "👌"),
    ("party", "🥳"),
    ("pray", "🙏"),
    ("question", "❓"),
    ("rocket", "🚀"),
    ("sad", "🙁"),
    ("ship", "🚢"),
    ("smile", "🙂"),
    ("sparkles", "✨"),
    ("tada", "🎉"),
    ("thinking", "🤔"),
    ("thumbsup", "👍"),
    ("warn", "🚧"),
    ("wave", "👋"),
    ("wink", "😉"),
    ("wrench", "🔧"),
    ("zap", "⚡"),
];

/// The emoji of `:name:`.
pub fn by_name(word: &str) -> Option<&'static str> {
    let name = word.strip_prefix(':')?.strip_suffix(':')?;
    TABLE.iter().find(|(known, _)| *known == name).map(|(_, emoji)| *emoji)
}
