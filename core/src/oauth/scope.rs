//! Scopes of an access token: words separated by spaces (RFC 6749, section 3.3).
//!
//! What was granted is the application's, of any length; what is asked for is the client's, and short. All
//! of it takes time in proportion to the length.

use std::collections::HashSet;

/// The longest scope that a client may ask for, in bytes.
const MAX_REQUESTED: usize = 4096;

/// Whether a client may ask for `scope`: one word or more, of printable ASCII without `"` and `\`, and not
/// longer than any client has use for.
pub fn is_well_formed(scope: &str) -> bool {
    let is_allowed = |c: u8| matches!(c, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_allowed);
    scope.len() <= MAX_REQUESTED && scope.split(' ').all(is_word)
}

/// Whether each word of `requested` is one of `granted`.
pub fn is_within(requested: &str, granted: &str) -> bool {
    let granted = words(granted);
    requested.split(' ').all(|word| granted.contains(word))
}

/// The words of `requested` that are words of `granted` too, each once, in the order of the request.
pub fn narrow(requested: &str, granted: &str) -> String {
    let mut left = words(granted);
    let kept: Vec<_> = requested
        .split(' ')
        .filter(|word| left.remove(word))
        .collect();
    kept.join(" ")
}

fn words(scope: &str) -> HashSet<&str> {
    scope.split_ascii_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_printable_ascii() {
        for scope in [
            "read",
            "read write",
            "a:b/c.d!#[]~",
            "https://example.com/x",
        ] {
            assert!(is_well_formed(scope), "{scope}");
        }
        assert!(is_well_formed(&"a".repeat(MAX_REQUESTED)));
        assert!(!is_well_formed(&"a".repeat(MAX_REQUESTED + 1)));
        for scope in [
            "", " ", " read", "read ", "a  b", "a\tb", "a\"b", "a\\b", "é", "a\n",
        ] {
            assert!(!is_well_formed(scope), "{scope:?}");
        }
    }

    /// Word by word, 40 thousand million comparisons.
    #[test]
    fn the_time_grows_with_the_length_and_not_with_its_square() {
        let words: Vec<_> = (0..200_000).map(|n| format!("w{n}")).collect();
        let scope = words.join(" ");
        assert!(is_within(&scope, &scope));
        assert_eq!(narrow(&scope, &scope), scope);
    }

    #[test]
    fn no_more_than_was_granted() {
        assert!(is_within("write read", "read write delete"));
        assert!(!is_within("read admin", "read write"));
        assert!(!is_within("rea", "read"));
        assert!(!is_within("read", ""));
        assert_eq!(narrow("write admin read", "read write"), "write read");
        assert_eq!(narrow("admin", "read"), "");
        assert_eq!(narrow("read write read", "write read read"), "read write");
    }
}
