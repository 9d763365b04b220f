//! How well a few letters fit to a room's name. Imports nothing.

/// How well `query` fits to `name`, both in lower case; `None` if its letters are not there in their order. A whole
/// name is better than its start, that than the start of a word, that than its middle, that than scattered letters;
/// among equals the shorter name is better.
pub fn score(query: &str, name: &str) -> Option<u32> {
    if query.is_empty() {
        return Some(0);
    }
    let bare = name.trim_start_matches(['#', '@']);
    let name = if query.starts_with(['#', '@']) { name } else { bare };
    let short = 200u32.saturating_sub(u32::try_from(name.len()).unwrap_or(u32::MAX));
    let starts_word = |at: usize| name[..at].ends_with(|c: char| !c.is_alphanumeric());
    match name.find(query) {
        Some(0) if name == query => Some(2_000),
        Some(0) => Some(1_000 + short),
        Some(_) if name.match_indices(query).any(|(at, _)| starts_word(at)) => Some(750 + short),
        Some(_) => Some(500 + short),
        None => scattered(query, name).then_some(short),
    }
}

fn scattered(query: &str, name: &str) -> bool {
    let mut rest = name.chars();
    query.chars().filter(|c| !c.is_whitespace()).all(|wanted| rest.any(|c| c == wanted))
}

#[cfg(test)]
mod tests {
    use super::score;

    #[test]
    fn the_best_comes_first() {
        let table = [
            ("ops", vec!["#ops", "#ops-eu", "#dev-ops", "#laptops", "#open-specs"]),
            ("@b", vec!["@bob", "@bobby-long"]),
            ("de eu", vec!["#dev-eu"]),
        ];
        for (query, order) in table {
            let scores: Vec<_> = order.iter().map(|name| score(query, name)).collect();
            assert!(scores.iter().all(Option::is_some), "{query}: {scores:?}");
            assert!(scores.windows(2).all(|pair| pair[0] > pair[1]), "{query}: {scores:?}");
        }
        for (query, name) in [("@b", "#bob"), ("spo", "#ops"), ("opss", "#ops")] {
            assert_eq!(score(query, name), None, "{query} in {name}");
        }
        assert_eq!(score("", "#ops"), Some(0));
    }
}
