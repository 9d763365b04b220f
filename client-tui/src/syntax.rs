//! What the words of code are, by the syntaxes of `bat`. Slow where a language is new or code is hostile: for a thread of its
//! own. Imports syntect, and of the app what it calls the words.

use std::time::Instant;

use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet};

use crate::app::highlights::{Syntax, Words};
use crate::app::text;

/// Behind a longer line nothing has colours, in bytes: no language is written so, and regular expressions are slow on
/// it.
const LONGEST_LINE: usize = 1_000;

/// What scopes mean, the longer before the shorter; `None` are those that say nothing, whatever they stand in.
const SCOPES: &[(&str, Option<Syntax>)] = &[
    ("comment", Some(Syntax::Comment)),
    ("constant.character.escape", Some(Syntax::Number)),
    ("string", Some(Syntax::String)),
    ("constant.character", Some(Syntax::String)),
    ("constant", Some(Syntax::Number)),
    ("entity.name.function", Some(Syntax::Function)),
    ("support.function", Some(Syntax::Function)),
    ("support.macro", Some(Syntax::Function)),
    ("variable.function", Some(Syntax::Function)),
    ("entity.other.attribute-name", Some(Syntax::Function)),
    ("entity.name.tag", Some(Syntax::Keyword)),
    ("entity.name", Some(Syntax::Type)),
    ("entity.other.inherited-class", Some(Syntax::Type)),
    ("support.type", Some(Syntax::Type)),
    ("support.class", Some(Syntax::Type)),
    ("storage.type.numeric", Some(Syntax::Type)),
    ("keyword.operator.word", Some(Syntax::Keyword)),
    ("keyword.operator.logical.python", Some(Syntax::Keyword)),
    ("keyword.operator", None),
    ("keyword", Some(Syntax::Keyword)),
    ("storage", Some(Syntax::Keyword)),
    ("variable.language", Some(Syntax::Keyword)),
    ("markup.inserted", Some(Syntax::String)),
    ("markup.deleted", Some(Syntax::Removed)),
    ("markup.heading", Some(Syntax::Keyword)),
    ("meta.diff.range", Some(Syntax::Function)),
    ("meta.diff.header", Some(Syntax::Type)),
    // Code within a string is no string.
    ("meta.interpolation", None),
    ("source", None),
];

/// Names that people use and the syntaxes do not have.
const ALIASES: &[(&str, &str)] = &[
    ("csharp", "cs"),
    ("docker", "Dockerfile"),
    ("golang", "go"),
    ("jsonc", "json"),
    ("patch", "diff"),
    ("shell", "sh"),
    ("terraform", "tf"),
];

/// Reads code.
#[derive(Debug)]
pub struct Reader {
    syntaxes: SyntaxSet,
    scopes: Vec<(Scope, Option<Syntax>)>,
}

impl Reader {
    /// Loads the syntaxes, within 2 ms. Each is made ready when it is first used, which takes 20 to 120 ms, and then 5
    /// to 20 MiB of memory.
    pub fn load() -> Reader {
        let scope = |(name, syntax): &(&str, Option<Syntax>)| Some((Scope::new(name).ok()?, *syntax));
        Reader {
            syntaxes: two_face::syntax::extra_newlines(),
            scopes: SCOPES.iter().filter_map(scope).collect(),
        }
    }

    /// The words of a block as it is written: the language, a line end, the code. `None` if the language is not
    /// known. Words begin and end where graphemes do; what is not read `until` then has none.
    pub fn read(&self, block: &str, until: Instant) -> Option<Words> {
        let (language, code) = block.split_once('\n')?;
        let mut state = ParseState::new(self.syntax(language)?);
        let (mut stack, mut words) = (ScopeStack::new(), Words::new());
        let mut at = block.len() - code.len();
        for line in code.split('\n') {
            if line.len() > LONGEST_LINE || Instant::now() >= until {
                break;
            }
            // Syntaxes know a line's end by its character.
            let Ok(steps) = state.parse_line(&format!("{line}\n"), &self.syntaxes) else { break };
            let mut from = 0;
            for (to, step) in steps {
                self.push(block, at + from..at + to.min(line.len()), &stack, &mut words);
                from = to.min(line.len());
                if stack.apply(&step).is_err() {
                    return Some(words);
                }
            }
            self.push(block, at + from..at + line.len(), &stack, &mut words);
            at += line.len() + 1;
        }
        Some(words)
    }

    fn syntax(&self, language: &str) -> Option<&SyntaxReference> {
        let name = language.split([',', '{', ':']).next().unwrap_or_default();
        let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
        let found = self.syntaxes.find_syntax_by_token(alias.map_or(name, |(_, name)| name))?;
        (found.name != "Plain Text").then_some(found)
    }

    fn push(&self, block: &str, range: std::ops::Range<usize>, stack: &ScopeStack, words: &mut Words) {
        let (start, end) = (text::snap(block, range.start), text::snap(block, range.end));
        let Some(syntax) = self.meaning(stack).filter(|_| start < end) else { return };
        match words.last_mut() {
            Some((last, known)) if last.end == start && *known == syntax => last.end = end,
            _ => words.push((start..end, syntax)),
        }
    }

    /// The innermost scope that means something decides.
    fn meaning(&self, stack: &ScopeStack) -> Option<Syntax> {
        let meaning = |scope: &Scope| {
            self.scopes.iter().find(|(known, _)| known.is_prefix_of(*scope)).map(|(_, syntax)| *syntax)
        };
        stack.as_slice().iter().rev().find_map(meaning).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn read(reader: &Reader, block: &str) -> Option<Vec<(String, Syntax)>> {
        let words = reader.read(block, Instant::now() + Duration::from_secs(600))?;
        Some(words.into_iter().map(|(range, syntax)| (block[range].to_owned(), syntax)).collect())
    }

    #[test]
    fn languages_and_their_words() {
        use Syntax::*;
        let reader = Reader::load();
        let table: &[(&str, &[(&str, Syntax)])] = &[
            ("rust\nlet n = 42; // why", &[("let", Keyword), ("42", Number), ("// why", Comment)]),
            ("rs\nfn main() {}", &[("fn", Keyword), ("main", Function)]),
            ("rust,ignore\nstruct A;", &[("struct", Keyword), ("A", Type)]),
            (
                "python\ndef f(): return 'x'",
                &[("def", Keyword), ("f", Function), ("return", Keyword), ("'x'", String)],
            ),
            ("sh\necho \"hi\" # so", &[("echo", Function), ("\"hi\"", String), ("# so", Comment)]),
            ("golang\nfunc f() {}", &[("func", Keyword), ("f", Function)]),
            ("diff\n-old\n+new", &[("-old", Removed), ("+new", String)]),
            ("json\n{\"a\": [true, 1.5]}", &[("\"a\"", String), ("true", Number), ("1.5", Number)]),
            ("toml\na = \"b\" # c", &[("\"b\"", String), ("# c", Comment)]),
            ("TypeScript\nconst a = null", &[("const", Keyword), ("null", Number)]),
            ("rust\nlet s = \"漢👩\u{200d}💻\";", &[("let", Keyword), ("\"漢👩\u{200d}💻\"", String)]),
        ];
        for (block, expected) in table {
            let found = read(&reader, block).unwrap_or_else(|| panic!("{block:?}"));
            let found: Vec<(&str, Syntax)> = found.iter().map(|(word, s)| (word.as_str(), *s)).collect();
            for wanted in *expected {
                assert!(found.contains(wanted), "{block:?}: {wanted:?} is not among {found:?}");
            }
        }
        for unknown in ["", "nosuch\nx", "text\nx", "txt\nfn", "漢\nx", ",\nx", "rust"] {
            assert_eq!(read(&reader, unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn what_would_take_long_has_no_words() {
        let reader = Reader::load();
        let long = format!("rust\nlet a;\n{}\nlet b;", "(".repeat(LONGEST_LINE + 1));
        let found = read(&reader, &long).unwrap();
        assert_eq!(found, [("let".to_owned(), Syntax::Keyword)]);
        assert_eq!(reader.read("rust\nlet a;", Instant::now()), Some(Vec::new()));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(64))]
        #[test]
        fn words_lie_in_the_code_between_graphemes(
            language in proptest::sample::select(vec!["rust", "sh", "python", "js", "yaml", "html", "md", "sql"]),
            code in "([a-z \"'#/*(){}<>=\\\\0-9\n\t]|fn |let |漢|é|\u{301}|👩\u{200d}💻|\u{1b}|\u{202e}){0,60}",
        ) {
            // Once for all cases: loading takes longer than reading.
            static READER: std::sync::LazyLock<Reader> = std::sync::LazyLock::new(Reader::load);
            let block = format!("{language}\n{code}");
            let words = READER.read(&block, Instant::now() + Duration::from_secs(600)).unwrap();
            let mut end = language.len() + 1;
            for (range, _) in words {
                proptest::prop_assert!(range.start >= end && range.end > range.start, "{range:?}");
                for at in [range.start, range.end] {
                    proptest::prop_assert!(text::is_boundary(&block, at), "{at} of {block:?}");
                }
                end = range.end;
            }
            proptest::prop_assert!(end <= block.len());
        }
    }
}
