//! Finds the pairs of a customer and a number that are stored on one side only, without keeping all pairs.
//!
//! Every pair is stored twice: as a channel of the customer's record, and as a ccid of the number's item. Each side
//! adds the pair to three cells of a fixed table, with opposite signs, so a pair on both sides cancels out. What
//! remains are the pairs that are on one side only. A cell that holds exactly one pair reveals it, and removing that pair from its
//! other cells reveals the next one. (This is an invertible Bloom lookup table: Eppstein, Goodrich, Uyeda,
//! Varghese, "What's the Difference?", 2011.) A second reading of the table is needed only if more pairs remain
//! than the cells can reveal.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use cdm_lambda::domain::{Ccid, ClientId, Phone};

/// The number of cells for each of a pair's three places. Together they reveal about 150,000 pairs.
const CELLS: usize = 1 << 16;
const PLACES: usize = 3;

/// A customer that has a number, according to one side.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pair {
    client_id: String,
    ccid: String,
    e164: String,
}

impl Pair {
    pub(crate) fn new(client_id: &ClientId, ccid: &Ccid, phone: &Phone) -> Self {
        Self { client_id: client_id.as_str().to_owned(), ccid: ccid.as_str().to_owned(), e164: phone.e164().to_owned() }
    }

    /// `None` if it is not a valid pair, which cannot happen.
    pub(crate) fn parts(&self) -> Option<(ClientId, Ccid, Phone)> {
        Some((ClientId::parse(&self.client_id).ok()?, Ccid::parse(&self.ccid).ok()?, Phone::from_e164(&self.e164)?))
    }

    /// The pair as bytes, preceded by their length. None of the three parts contains a control character.
    fn bytes(&self) -> Vec<u8> {
        let text = [&*self.client_id, &*self.ccid, &*self.e164].join("\0");
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes();
        [&length, text.as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (text, padding) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        let mut parts = std::str::from_utf8(text).ok()?.split('\0').map(str::to_owned);
        let (client_id, ccid, e164) = (parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then_some(Self { client_id, ccid, e164 })
    }
}

/// The side on which a pair is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Record,
    Number,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Cell {
    /// The number of pairs from records minus the number of pairs from numbers.
    count: i64,
    /// The XOR of the pairs' hashes.
    hash: u64,
    /// The XOR of the pairs' bytes.
    bytes: Vec<u8>,
}

impl Cell {
    fn toggle(&mut self, by: i64, hash: u64, bytes: &[u8]) {
        self.count += by;
        self.hash ^= hash;
        if self.bytes.len() < bytes.len() {
            self.bytes.resize(bytes.len(), 0);
        }
        for (mine, theirs) in self.bytes.iter_mut().zip(bytes) {
            *mine ^= theirs;
        }
    }

    fn is_empty(&self) -> bool {
        self.count == 0 && self.hash == 0 && self.bytes.iter().all(|byte| *byte == 0)
    }
}

/// The sums over all pairs that were read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sums {
    /// A random salt, so that no one can choose ccids that share their cells.
    salt: u64,
    cells: Vec<Cell>,
}

/// The result of the sums.
pub(crate) struct Left {
    /// Pairs that are on one side only, as they were read.
    pub(crate) pairs: Vec<Pair>,
    /// Cells with too many pairs to separate.
    rest: Option<Sums>,
}

impl Left {
    /// Whether only a second reading of the table can find some pairs.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether the pair may be one of those that could not be separated.
    pub(crate) fn may_hold(&self, pair: &Pair) -> bool {
        self.rest.as_ref().is_some_and(|rest| {
            let places = rest.places(&pair.bytes());
            places.iter().all(|place| rest.cells.get(*place).is_some_and(|cell| !cell.is_empty()))
        })
    }
}

impl Sums {
    pub(crate) fn new(salt: u64) -> Self {
        Self { salt, cells: vec![Cell::default(); CELLS * PLACES] }
    }

    /// With few cells, so that a dozen pairs are already too many.
    #[cfg(test)]
    pub(crate) fn small(salt: u64) -> Self {
        Self { salt, cells: vec![Cell::default(); 2 * PLACES] }
    }

    fn hash(&self, what: u8, bytes: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.salt, what, bytes).hash(&mut hasher);
        hasher.finish()
    }

    fn places(&self, bytes: &[u8]) -> [usize; PLACES] {
        let each = self.cells.len() / PLACES;
        [0, 1, 2].map(|place: u8| {
            let hash = usize::try_from(self.hash(place, bytes) >> 8).unwrap_or(usize::MAX);
            usize::from(place) * each + hash % each
        })
    }

    /// Adds the pair of a side.
    pub(crate) fn add(&mut self, side: Side, pair: &Pair) {
        self.toggle(if side == Side::Record { 1 } else { -1 }, &pair.bytes());
    }

    fn toggle(&mut self, by: i64, bytes: &[u8]) -> [usize; PLACES] {
        let hash = self.hash(u8::MAX, bytes);
        let places = self.places(bytes);
        for place in places {
            if let Some(cell) = self.cells.get_mut(place) {
                cell.toggle(by, hash, bytes);
            }
        }
        places
    }

    /// The pair in the cell, if the cell holds exactly one.
    fn single(&self, place: usize) -> Option<(i64, Vec<u8>, Pair)> {
        let cell = self.cells.get(place).filter(|cell| cell.count.abs() == 1)?;
        let pair = Pair::from_bytes(&cell.bytes)?;
        let bytes = pair.bytes();
        let is_it = self.hash(u8::MAX, &bytes) == cell.hash && self.places(&bytes).contains(&place);
        is_it.then_some((cell.count, bytes, pair))
    }

    /// The pairs that are on one side only.
    pub(crate) fn left(mut self) -> Left {
        let mut pairs = Vec::new();
        let mut to_look_at: VecDeque<usize> = (0..self.cells.len()).collect();
        while let Some(place) = to_look_at.pop_front().filter(|_| pairs.len() < self.cells.len()) {
            if let Some((count, bytes, pair)) = self.single(place) {
                to_look_at.extend(self.toggle(-count, &bytes));
                pairs.push(pair);
            }
        }
        let is_complete = self.cells.iter().all(Cell::is_empty);
        Left { pairs, rest: (!is_complete).then_some(self) }
    }

    /// The bytes for a file that another run reads.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.salt.to_le_bytes().to_vec();
        bytes.extend(check().to_le_bytes());
        for cell in &self.cells {
            bytes.extend(cell.count.to_le_bytes());
            bytes.extend(cell.hash.to_le_bytes());
            bytes.extend(u16::try_from(cell.bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend(&cell.bytes);
        }
        bytes
    }

    /// `None` if the bytes are not sums, or if another version computed them with a different hash function.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (salt, bytes) = bytes.split_first_chunk::<8>()?;
        let (checked, mut bytes) = bytes.split_first_chunk::<8>()?;
        let mut cells = Vec::new();
        while let Some((count, rest)) = bytes.split_first_chunk::<8>() {
            let (hash, rest) = rest.split_first_chunk::<8>()?;
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            cells.push(Cell {
                count: i64::from_le_bytes(*count),
                hash: u64::from_le_bytes(*hash),
                bytes: text.to_vec(),
            });
            bytes = rest;
        }
        let is_ours = u64::from_le_bytes(*checked) == check() && bytes.is_empty() && cells.len() == CELLS * PLACES;
        is_ours.then_some(Self { salt: u64::from_le_bytes(*salt), cells })
    }
}

/// The hash of a constant. The standard library may change its hash function between versions.
fn check() -> u64 {
    let mut hasher = DefaultHasher::new();
    "cdm".hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pair(number: usize) -> Pair {
        Pair {
            client_id: format!("client-{}", number % 3),
            ccid: format!("É#{}", "x".repeat(number % 40) + &number.to_string()),
            e164: format!("+1{}", 6_000_000_000_usize + number),
        }
    }

    #[test]
    fn what_is_on_one_side_only_is_named() {
        let mut sums = Sums::new(7);
        for number in 0..50_000 {
            sums.add(Side::Record, &pair(number));
            if number >= 1000 {
                sums.add(Side::Number, &pair(number));
            }
        }
        for number in 60_000..61_000 {
            sums.add(Side::Number, &pair(number));
        }
        let sums = Sums::from_bytes(&sums.to_bytes()).unwrap();
        let left = sums.left();
        assert!(!left.is_incomplete() && !left.may_hold(&pair(1)));
        let expected: BTreeSet<_> = (0..1000).chain(60_000..61_000).map(pair).collect();
        assert_eq!(left.pairs.len(), 2000);
        assert_eq!(left.pairs.into_iter().collect::<BTreeSet<_>>(), expected);
        assert!(pair(5).parts().is_some());
    }

    #[test]
    fn a_consistent_table_leaves_nothing() {
        let mut sums = Sums::new(1);
        for number in 0..1000 {
            sums.add(Side::Number, &pair(number));
        }
        for number in (0..1000).rev() {
            sums.add(Side::Record, &pair(number));
        }
        let left = sums.left();
        assert!(left.pairs.is_empty() && !left.is_incomplete());
    }

    #[test]
    fn pairs_that_cannot_be_separated_stay_suspects() {
        let mut sums = Sums { salt: 3, cells: vec![Cell::default(); 30] };
        for number in 0..100 {
            sums.add(Side::Record, &pair(number));
        }
        let left = sums.left();
        assert!(left.is_incomplete());
        let named: BTreeSet<_> = left.pairs.iter().cloned().collect();
        assert!((0..100).map(pair).all(|pair| named.contains(&pair) || left.may_hold(&pair)));
    }

    #[test]
    fn other_bytes_are_no_sums() {
        let bytes = Sums::new(1).to_bytes();
        for bad in [&bytes[..0], &bytes[..15], &bytes[..bytes.len() - 1], &[bytes.clone(), vec![0]].concat()[..]] {
            assert!(Sums::from_bytes(bad).is_none(), "{}", bad.len());
        }
        let mut of_another_build = bytes;
        of_another_build[8] ^= 1;
        assert!(Sums::from_bytes(&of_another_build).is_none());
    }
}
