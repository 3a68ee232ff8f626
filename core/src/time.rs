//! Points in time as PostgreSQL counts them.

/// A `timestamptz`: microseconds since 2000-01-01 00:00 UTC.
///
/// `i64::MIN` and `i64::MAX` are PostgreSQL's `-infinity` and `infinity`;
/// all arithmetic saturates there, so no value a table may hold can overflow, and each result is one
/// that a table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// A length of time in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub i64);

impl Micros {
    /// `seconds` as microseconds; any `i32` fits.
    pub const fn from_seconds(seconds: i32) -> Self {
        Self(seconds as i64 * 1_000_000)
    }

    /// The limit that a setting gives in seconds. 0 switches it off: none, so for ever.
    pub fn limit(seconds: i32) -> Option<Self> {
        (seconds > 0).then(|| Self::from_seconds(seconds))
    }

    /// This length in seconds.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

/// Seconds from 1970-01-01, where Unix counts from, to 2000-01-01.
const UNIX_EPOCH: i64 = 946_684_800;

impl Timestamp {
    /// `-infinity`, before which nothing lies.
    pub const BEGINNING: Self = Self(i64::MIN);
    const INFINITY: Self = Self(i64::MAX);
    /// The start of the year 294277: PostgreSQL's finite times end before it.
    const END: Self = Self(9_223_371_331_200_000_000);

    /// This time and `length` more. An infinite time stays what it is; a time past all finite ones
    /// is infinite.
    pub fn plus(self, length: Micros) -> Self {
        match self.0 {
            i64::MIN | i64::MAX => self,
            finite => match Self(finite.saturating_add(length.0)) {
                past if past >= Self::END => Self::INFINITY,
                finite => finite,
            },
        }
    }

    /// The time `limit` before this one; `-infinity`, before which nothing lies, if there is no limit.
    pub fn minus(self, limit: Option<Micros>) -> Self {
        limit.map_or(Self::BEGINNING, |limit| self.plus(Micros(-limit.0)))
    }

    /// This time in whole seconds since 1970; none if it is not finite.
    pub fn unix_seconds(self) -> Option<i64> {
        match self.0 {
            i64::MIN | i64::MAX => None,
            finite => Some(finite.div_euclid(1_000_000) + UNIX_EPOCH),
        }
    }

    /// This time as a NumericDate (RFC 7519, section 2), with its fraction of a second; none if it is not finite.
    pub fn numeric_date(self) -> Option<f64> {
        let seconds = self.unix_seconds()?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "microseconds of these centuries have fewer than 53 bits"
        )]
        Some(seconds as f64 + self.0.rem_euclid(1_000_000) as f64 / 1e6)
    }

    /// How long before `self` the time `earlier` was.
    pub fn since(self, earlier: Self) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinity_stays_infinite() {
        let day = Micros::from_seconds(86_400);
        assert_eq!(Timestamp(i64::MAX).plus(day), Timestamp(i64::MAX));
        assert_eq!(Timestamp(i64::MIN).plus(day), Timestamp(i64::MIN));
        assert_eq!(Timestamp(i64::MAX - 1).plus(day), Timestamp(i64::MAX));
    }

    #[test]
    fn past_the_last_finite_time_is_infinity() {
        let last = Timestamp(Timestamp::END.0 - 1);
        assert_eq!(last.plus(Micros(0)), last);
        assert_eq!(last.plus(Micros(1)), Timestamp::INFINITY);
    }

    #[test]
    fn unix_counts_from_1970() {
        assert_eq!(Timestamp(0).unix_seconds(), Some(946_684_800));
        assert_eq!(Timestamp(-1).unix_seconds(), Some(946_684_799));
        assert_eq!(Timestamp(1_500_000).numeric_date(), Some(946_684_801.5));
        assert_eq!(Timestamp(-500_000).numeric_date(), Some(946_684_799.5));
        assert_eq!(Timestamp(i64::MAX).numeric_date(), None);
        assert_eq!(Timestamp(i64::MAX).unix_seconds(), None);
        assert_eq!(Timestamp(i64::MIN).unix_seconds(), None);
    }

    #[test]
    fn since_saturates() {
        let end = Timestamp(i64::MAX);
        assert_eq!(end.since(Timestamp(-5)), Micros(i64::MAX));
        assert_eq!(Timestamp(7).since(Timestamp(5)), Micros(2));
        assert_eq!(Timestamp(5).since(Timestamp(7)), Micros(-2));
    }
}
