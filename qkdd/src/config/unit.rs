//! Values with their unit as text. In: `"25km"`. Out: the number in the one unit of its kind.
//! Always: a value without a unit, or with one of another kind, is refused.

/// A kind of quantity; numbers come out in the unit named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Kilometres.
    Length,
    /// Seconds.
    Time,
    /// Decibels.
    Loss,
    /// Decibels per kilometre.
    LossPerLength,
    /// Hertz.
    Frequency,
    /// Bytes.
    Bytes,
    /// Bits.
    Bits,
    /// Bits per second.
    BitRate,
}

impl Unit {
    /// Suffixes with their factors, longer ones before their own endings.
    fn suffixes(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Length => &[("km", 1.0), ("m", 1e-3)],
            Self::Time => {
                &[("ps", 1e-12), ("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("min", 60.0), ("h", 3600.0), ("s", 1.0)]
            }
            Self::Loss => &[("dB", 1.0)],
            Self::LossPerLength => &[("dB/km", 1.0)],
            Self::Frequency => &[("GHz", 1e9), ("MHz", 1e6), ("kHz", 1e3), ("Hz", 1.0)],
            Self::Bytes => &[("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0), ("B", 1.0)],
            Self::Bits => &[("Kibit", 1024.0), ("Mibit", 1_048_576.0), ("Gibit", 1_073_741_824.0), ("bit", 1.0)],
            Self::BitRate => &[("kbit/s", 1e3), ("Mbit/s", 1e6), ("bit/s", 1.0)],
        }
    }

    /// The unit in which the number comes out.
    pub(super) fn suffix(self) -> &'static str {
        let base = self.suffixes().iter().find(|(_, factor)| *factor == 1.0);
        base.map_or("", |(name, _)| name)
    }

    /// The units on offer, for an error text.
    pub(super) fn offer(self) -> String {
        let names: Vec<_> = self.suffixes().iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// The number in the unit of the kind; none if the text is not a number with such a unit.
    pub(super) fn read(self, text: &str) -> Option<f64> {
        let (digits, factor) =
            self.suffixes().iter().find_map(|(name, factor)| Some((text.strip_suffix(name)?, factor)))?;
        let number: f64 = digits.trim_end().parse().ok()?;
        number.is_finite().then_some(number * factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_needs_a_unit_of_its_kind() {
        assert_eq!(Unit::Length.read("25km"), Some(25.0));
        assert_eq!(Unit::Length.read("250 m"), Some(0.25));
        assert_eq!(Unit::Time.read("50ns"), Some(50.0 * 1e-9));
        assert_eq!(Unit::LossPerLength.read("0.2dB/km"), Some(0.2));
        assert_eq!(Unit::Bytes.read("256KiB"), Some(262_144.0));
        assert_eq!(Unit::Bits.read("256Kibit"), Some(262_144.0));
        assert_eq!(Unit::BitRate.read("2.1kbit/s"), Some(2100.0));
        for bad in ["25", "km", "25dB", "infkm", "NaNkm", "2 5km", ""] {
            assert_eq!(Unit::Length.read(bad), None, "{bad:?}");
        }
    }
}
