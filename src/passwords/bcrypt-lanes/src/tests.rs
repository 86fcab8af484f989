//! Compares the lanes with the `bcrypt` crate and with published hashes.
//!
//! `TRIPGATE_TEST_ROUNDS` sets the number of random hashes. From 1,000 on, hashes at cost 12 are also
//! compared.

use super::*;

/// Returns the digests of inputs that are hashed together.
fn digests(cost: u32, inputs: &[Input<'_>]) -> Vec<[u8; 24]> {
    let mut lanes = Lanes::start(inputs);
    lanes.advance_to(cost);
    let mut digests = vec![[0; 24]; inputs.len()];
    lanes.retain(|number, lane| {
        digests[number] = lane.digest();
        false
    });
    assert!(lanes.is_empty());
    digests
}

/// Returns the digest that the `bcrypt` crate computes.
fn reference(cost: u32, input: &Input<'_>) -> [u8; 24] {
    let key: Vec<u8> = input.password.iter().copied().chain([0]).take(KEY_BYTES).collect();
    bcrypt::bcrypt(cost, input.salt, &key)
}

#[track_caller]
fn assert_equal(cost: u32, passwords: &[Vec<u8>], salts: &[[u8; 16]]) {
    let inputs: Vec<_> =
        passwords.iter().zip(salts).map(|(password, salt)| Input { password, salt: *salt }).collect();
    for (digest, input) in digests(cost, &inputs).iter().zip(&inputs) {
        assert_eq!(*digest, reference(cost, input), "cost {cost}, {:?}, {:?}", input.password, input.salt);
    }
}

/// A xorshift generator. Its numbers depend only on the seed, so that a failed test can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn salt(&mut self) -> [u8; 16] {
        array::from_fn(|_| self.byte())
    }

    /// Returns up to 72 bytes other than NUL.
    fn password(&mut self) -> Vec<u8> {
        (0..self.below(73)).map(|_| self.byte().max(1)).collect()
    }
}

fn rounds(default: usize) -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "the variable controls the tests; it is not a server setting"
    )]
    let rounds = std::env::var("TRIPGATE_TEST_ROUNDS");
    rounds.map_or(default, |count| count.parse().unwrap())
}

#[test]
fn random_hashes_equal_those_of_the_bcrypt_crate() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    let total = rounds(60);
    let mut compared = 0;
    while compared < total {
        // The counts cover a single lane, full and incomplete loops, and more lanes than one loop has.
        let count = 1 + usize::try_from(random.below(6)).unwrap();
        let cost = 4 + u32::try_from(random.below(5)).unwrap();
        let passwords: Vec<_> = (0..count).map(|_| random.password()).collect();
        let salts: Vec<_> = (0..count).map(|_| random.salt()).collect();
        assert_equal(cost, &passwords, &salts);
        compared += count;
    }
    if total >= 1000 {
        for _ in 0..5 {
            let passwords: Vec<_> = (0..4).map(|_| random.password()).collect();
            let salts: Vec<_> = (0..4).map(|_| random.salt()).collect();
            assert_equal(12, &passwords, &salts);
        }
    }
    println!("{compared} hashes equal those of the crate");
}

#[test]
fn passwords_of_every_length_have_the_same_hash_as_in_the_bcrypt_crate() {
    let mut random = Random(1);
    let lengths: Vec<usize> = (0..=72).chain([73, 100]).collect();
    for lengths in lengths.chunks(4) {
        let passwords: Vec<Vec<u8>> =
            lengths.iter().map(|length| (0..*length).map(|_| random.byte().max(1)).collect()).collect();
        assert_equal(4, &passwords, &[random.salt(); 4]);
    }
}

#[test]
fn passwords_with_every_byte_value_have_the_same_hash_as_in_the_bcrypt_crate() {
    let bytes: Vec<u8> = (0..=255).collect();
    for bytes in bytes.chunks(4) {
        let passwords: Vec<_> = bytes.iter().map(|byte| vec![b'a', *byte, 0x80]).collect();
        let salts: Vec<_> = bytes.iter().map(|byte| [*byte; 16]).collect();
        assert_equal(4, &passwords, &salts);
    }
}

#[test]
fn lanes_continue_to_higher_costs_after_other_lanes_are_removed() {
    let mut random = Random(7);
    let passwords: Vec<_> = (0..5).map(|_| random.password()).collect();
    let inputs: Vec<_> = passwords.iter().map(|password| Input { password, salt: random.salt() }).collect();
    let mut lanes = Lanes::start(&inputs);
    // After the rounds of each cost, remove the lane whose number is `removed`.
    for (cost, removed) in [(4, 2), (5, 0), (6, 4), (8, 1), (9, 3)] {
        lanes.advance_to(cost);
        // A lower cost does nothing.
        lanes.advance_to(cost - 1);
        lanes.retain(|number, lane| {
            assert_eq!(lane.digest(), reference(cost, &inputs[number]), "lane {number}, cost {cost}");
            number != removed
        });
    }
    assert!(lanes.is_empty());
}

/// Encodes bytes in bcrypt's alphabet, without padding.
fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| (byte >> bit) & 1)).collect();
    let letter = |bits: &[u8]| {
        let index = (0..6).fold(0, |index, at| index * 2 + usize::from(bits.get(at).copied().unwrap_or(0)));
        char::from(ALPHABET[index])
    };
    bits.chunks(6).map(letter).collect()
}

#[test]
fn published_hashes_are_reproduced() {
    // From the tests of jBCrypt (Damien Miller) and of crypt_blowfish (Solar Designer).
    let long =
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored";
    let repeated = [0xaa; 72];
    let vectors: [(&[u8], &str); 13] = [
        (b"", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
        (b"", "$2a$08$HqWuK6/Ng6sg9gQzbLrgb.Tl.ZHfXLhvt/SgVyWhQqgqcZ7ZuUtye"),
        (b"a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
        (b"abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
        (b"abcdefghijklmnopqrstuvwxyz", "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC"),
        (b"abcdefghijklmnopqrstuvwxyz", "$2a$08$aTsUwsyowQuzRrDqFflhgekJ8d9/7Z3GV3UcgvzQW3J5zMyrTvlz."),
        (
            b"~!@#$%^&*()      ~!@#$%^&*()PNBFRD",
            "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO",
        ),
        (b"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        (b"U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
        (b"U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
        (b"\xff\xff\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"),
        (long, "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"),
        (&repeated, "$2a$05$/OK.fbVrR/bpIqNJ5ianF.swQOIzjOiJ9GHEPuhEkvqrUyvWhEMx6"),
    ];
    for (password, hash) in vectors {
        let parts: bcrypt::HashParts = hash.parse().unwrap();
        // Compute the hash beside another hash of the same cost.
        let input = Input { password, salt: parts.get_salt_raw() };
        let other = Input { password: b"other", salt: [9; 16] };
        let digest = digests(parts.get_cost(), &[other, input])[1];
        assert_eq!(encode(&digest[..23]), hash[29..], "{hash}");
    }
}
