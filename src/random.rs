//! Bytes that only the operating system's generator can foretell.

use rand::TryRng as _;
use rand::rngs::{SysError, SysRng};
use uuid::Uuid;
use zeroize::Zeroizing;

/// `N` fresh random bytes, wiped when dropped.
///
/// # Errors
/// The operating system's generator failed. Nothing else is tried in its place.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, SysError> {
    let mut bytes = Zeroizing::new([0; N]);
    SysRng.try_fill_bytes(bytes.as_mut_slice())?;
    Ok(bytes)
}

/// A fresh version 4 UUID (RFC 9562, section 5.4).
///
/// # Errors
/// As [`random`].
pub fn random_uuid() -> Result<Uuid, SysError> {
    Ok(uuid::Builder::from_random_bytes(*random()?).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_alike() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
        let (a, b) = (random_uuid().unwrap(), random_uuid().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.get_version_num(), 4);
    }
}
