//! Links as terminals know them (OSC 8). What is written here are the only sequences that stand in a cell.

use std::borrow::Cow;

/// The end of a sequence.
const END: &str = "\x1b\\";
/// Ends a link.
const CLOSE: &str = "\x1b]8;;\x1b\\";
/// Longer addresses are no links: terminals refuse them.
const LONGEST: usize = 2_000;

/// `symbol`, linked to `address`; `None` if that is no address for a link. All cells of one address have one id, so
/// that the pieces of a link that was wrapped are one.
pub fn linked(symbol: &str, address: &str) -> Option<String> {
    let known = ["https://", "http://", "quip://"].iter().any(|scheme| address.starts_with(scheme));
    let address = encoded(address);
    (known && address.len() <= LONGEST)
        .then(|| format!("\x1b]8;id={:x};{address}{END}{symbol}{CLOSE}", id(&address)))
}

/// What is seen of a cell's symbol.
pub fn visible(symbol: &str) -> &str {
    let inner = symbol.strip_suffix(CLOSE).and_then(|opened| opened.split_once(END));
    inner.map_or(symbol, |(_, seen)| seen)
}

/// Printable ASCII alone, as OSC 8 asks for it.
fn encoded(address: &str) -> Cow<'_, str> {
    if address.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(address);
    }
    let byte = |byte: u8| match byte.is_ascii_graphic() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    Cow::Owned(address.bytes().map(byte).collect())
}

fn id(address: &str) -> u32 {
    address.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_linked_and_only_in_ascii() {
        let table = [
            ("https://a.example/b?c=d", Some("https://a.example/b?c=d")),
            ("https://a.example/漢\u{1b}x", Some("https://a.example/%E6%BC%A2%1Bx")),
            ("javascript:alert(1)", None),
            ("file:///etc/passwd", None),
        ];
        for (address, expected) in table {
            let symbol = linked("x", address);
            let target = symbol.as_deref().and_then(|symbol| symbol.split_once(';')?.1.split_once(';'));
            assert_eq!(target.and_then(|(_, rest)| rest.split_once(END)).map(|(target, _)| target), expected);
            assert_eq!(symbol.as_deref().map(visible), expected.map(|_| "x"));
        }
        assert_eq!(linked("x", &format!("https://{}", "a".repeat(3_000))), None);
        assert_eq!((visible("x"), visible(" ")), ("x", " "));
    }
}
