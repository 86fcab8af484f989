//! The codes, link tokens and keyed hashes of flows.
//!
//! A token consists of the id of its flow and a MAC over the id and the purpose. Tokens are computed and not
//! stored, so read access to the database is not enough to create a token. An invalid token is rejected
//! without a query. A code is random. The database stores a MAC over the code and the id of its flow.

use uuid::Uuid;

use super::{CODE_DIGITS, Purpose};
use crate::secrets::{MacKey, random_bytes};

/// The number of possible codes.
const CODES: u64 = 100_000_000;

/// Returns a random code of 8 digits.
pub(super) fn random_code() -> String {
    // The largest multiple of `CODES` that fits into a `u64`. Accepting numbers at or above this limit would
    // make some codes more likely than others.
    const LIMIT: u64 = u64::MAX - u64::MAX % CODES;
    loop {
        let number = u64::from_le_bytes(random_bytes());
        if number < LIMIT {
            return format!("{:0CODE_DIGITS$}", number % CODES);
        }
    }
}

/// Returns the token of a flow.
pub(super) fn encode(mac: &MacKey, purpose: Purpose, flow: Uuid) -> String {
    mac.sign(link_context(purpose).as_bytes(), flow.as_bytes())
}

/// Returns the id of the flow if `text` is a valid token for `purpose`.
pub(super) fn decode(mac: &MacKey, purpose: Purpose, text: &str) -> Option<Uuid> {
    Uuid::from_slice(&mac.open_signed(link_context(purpose).as_bytes(), text)?).ok()
}

fn link_context(purpose: Purpose) -> String {
    format!("link v1 {}:", purpose.name())
}

/// Returns the MAC over a code and the id of its flow. The database stores this MAC.
pub(super) fn code_tag(mac: &MacKey, flow: Uuid, code: &str) -> [u8; 32] {
    tag(mac, &code_message(flow, code))
}

/// Returns true if `entered` is the code of the flow. Ignores white space and dashes. Compares in constant
/// time.
pub(super) fn is_code(mac: &MacKey, flow: Uuid, entered: &str, stored: &[u8]) -> bool {
    let code: String =
        entered.chars().filter(|c| !c.is_whitespace() && *c != '-').take(CODE_DIGITS + 1).collect();
    mac.verify(&code_message(flow, &code), stored)
}

fn code_message(flow: Uuid, code: &str) -> Vec<u8> {
    [b"code v1:", flow.as_bytes().as_slice(), code.as_bytes()].concat()
}

/// Returns the keyed hash of a user.
pub(super) fn user_hash(mac: &MacKey, user: Uuid) -> [u8; 32] {
    tag(mac, &[b"user v1:", user.as_bytes().as_slice()].concat())
}

/// Returns the keyed hash of a session.
pub(super) fn session_hash(mac: &MacKey, session: Uuid) -> [u8; 32] {
    tag(mac, &[b"session v1:", session.as_bytes().as_slice()].concat())
}

/// Returns the keyed hash of an address in canonical form.
pub(super) fn address_hash(mac: &MacKey, address_key: &str) -> [u8; 32] {
    tag(mac, &[b"address v1:", address_key.as_bytes()].concat())
}

fn tag(mac: &MacKey, message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(mac.tag(message).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mac() -> MacKey {
        MacKey::new(&[3; 32])
    }

    #[test]
    fn a_code_has_8_digits_and_is_valid_only_for_its_flow() {
        // S-46
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let code = random_code();
        assert!(code.len() == CODE_DIGITS && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
        let stored = code_tag(&mac(), one, &code);
        assert!(is_code(&mac(), one, &format!(" {} - {}\n", &code[..4], &code[4..]), &stored));
        assert!(!is_code(&mac(), other, &code, &stored));
        assert!(!is_code(&MacKey::new(&[4; 32]), one, &code, &stored));
        for wrong in ["", "0", &code[1..], &format!("{code}0"), &"9".repeat(1_000_000)] {
            assert!(!is_code(&mac(), one, wrong, &stored));
        }
    }

    #[test]
    fn codes_begin_with_each_digit_about_equally_often() {
        let codes: Vec<String> = (0..1_000).map(|_| random_code()).collect();
        for digit in '0'..='9' {
            let count = codes.iter().filter(|code| code.starts_with(digit)).count();
            assert!((40..200).contains(&count), "{digit}: {count}");
        }
    }

    proptest! {
        #[test]
        fn a_modified_token_and_a_token_for_another_purpose_are_rejected(id in any::<u128>(), at in 0..43_usize, new in "[A-Za-z0-9_-]") {
            // S-26, S-46
            let flow = Uuid::from_u128(id);
            for purpose in Purpose::ALL {
                let text = encode(&mac(), purpose, flow);
                for other in Purpose::ALL {
                    prop_assert_eq!(decode(&mac(), other, &text), (other == purpose).then_some(flow));
                }
                let modified = format!("{}{new}{}", &text[..at], &text[at + 1..]);
                prop_assert!(modified == text || decode(&mac(), purpose, &modified).is_none());
            }
        }

        #[test]
        fn a_text_that_is_not_a_flow_token_is_rejected(text in "\\PC{0,100}") {
            prop_assert_eq!(decode(&mac(), Purpose::ResetPassword, &text), None);
        }
    }
}
