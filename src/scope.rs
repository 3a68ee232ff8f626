//! Scopes of an access token: words separated by spaces (RFC 6749, section 3.3).

/// Whether `scope` is spelled as a scope is: one word or more, of printable ASCII without `"` and `\`.
pub fn is_well_formed(scope: &str) -> bool {
    let is_allowed = |c: u8| matches!(c, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_allowed);
    scope.split(' ').all(is_word)
}

/// Whether each word of `requested` is one of `granted`.
pub fn is_within(requested: &str, granted: &str) -> bool {
    requested.split(' ').all(|word| has(granted, word))
}

/// The words of `requested` that are words of `granted` too, in the order of the request.
pub fn narrow(requested: &str, granted: &str) -> String {
    let kept: Vec<_> = requested
        .split(' ')
        .filter(|word| has(granted, word))
        .collect();
    kept.join(" ")
}

fn has(scope: &str, word: &str) -> bool {
    scope.split_ascii_whitespace().any(|own| own == word)
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
        for scope in [
            "", " ", " read", "read ", "a  b", "a\tb", "a\"b", "a\\b", "é", "a\n",
        ] {
            assert!(!is_well_formed(scope), "{scope:?}");
        }
    }

    #[test]
    fn no_more_than_was_granted() {
        assert!(is_within("write read", "read write delete"));
        assert!(!is_within("read admin", "read write"));
        assert!(!is_within("rea", "read"));
        assert!(!is_within("read", ""));
        assert_eq!(narrow("write admin read", "read write"), "write read");
        assert_eq!(narrow("admin", "read"), "");
    }
}
