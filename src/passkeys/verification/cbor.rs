//! Decodes CBOR (RFC 8949) from authenticators, with limits on size and nesting.

use coset::cbor::Value;
use coset::cbor::de::from_reader_with_recursion_limit;

/// The maximum length of the CBOR data, in bytes. An attestation object in a format that this server accepts
/// is shorter than 2 KiB.
pub(super) const LENGTH_MAX: usize = 16 * 1024;
/// The maximum depth of nesting in the CBOR data.
const DEPTH_MAX: usize = 16;

/// Decodes the first data item. Returns the item and the bytes after it.
pub(super) fn decode_first(bytes: &[u8]) -> Option<(Value, &[u8])> {
    if bytes.len() > LENGTH_MAX {
        return None;
    }
    let mut rest = bytes;
    let value = from_reader_with_recursion_limit(&mut rest, DEPTH_MAX).ok()?;
    Some((value, rest))
}

/// Decodes a single data item. Returns `None` if bytes follow the item.
pub(super) fn decode(bytes: &[u8]) -> Option<Value> {
    let (value, rest) = decode_first(bytes)?;
    rest.is_empty().then_some(value)
}

/// Returns the value of a text key in a map. Returns `None` if the key is missing or present twice.
pub(super) fn entry<'a>(map: &'a [(Value, Value)], name: &str) -> Option<&'a Value> {
    let mut found = map.iter().filter(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value);
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nesting_and_the_size_of_cbor_input_are_limited() {
        // S-92
        assert!(decode(&[0x81, 0x80]).is_some());
        let nested = |depth: usize| [vec![0x81; depth], vec![0x80]].concat();
        assert!(decode(&nested(10)).is_some());
        assert!(decode(&nested(17)).is_none());
        assert!(decode(&nested(10_000)).is_none());
        // The limit also applies to nested tags and maps.
        assert!(decode(&[vec![0xc1; 10_000], vec![0x00]].concat()).is_none());
        assert!(decode(&[[0xa1, 0x00].repeat(8_000), vec![0x00]].concat()).is_none());
        let bytes = |length: u16| {
            let mut text = vec![0x59];
            text.extend(length.to_be_bytes());
            text.extend(vec![0; length.into()]);
            text
        };
        assert!(decode(&bytes(16_381)).is_some());
        assert!(decode(&bytes(16_382)).is_none());
        // The length at the beginning of the data exceeds the length of the input.
        for huge in
            [&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0x5a, 0xff, 0xff, 0xff, 0xff]]
        {
            assert!(decode(huge).is_none());
        }
    }

    #[test]
    fn decode_first_returns_the_bytes_after_the_first_item_and_decode_rejects_them() {
        // S-92
        assert_eq!(decode_first(&[0x01, 0x02]).map(|(_, rest)| rest), Some(&[0x02][..]));
        assert!(decode(&[0x01, 0x02]).is_none());
        assert!(decode(&[]).is_none());
    }

    #[test]
    fn a_map_entry_with_a_duplicate_key_is_rejected() {
        let map = |bytes: &[u8]| decode(bytes).and_then(|value| value.as_map().cloned()).unwrap();
        assert!(entry(&map(&[0xa1, 0x61, b'a', 0x01]), "a").is_some());
        assert!(entry(&map(&[0xa2, 0x61, b'a', 0x01, 0x61, b'a', 0x02]), "a").is_none());
    }
}
