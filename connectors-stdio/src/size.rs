//! Sizes in messages.

/// `bytes` in the largest binary unit that divides it.
pub(crate) fn display(bytes: usize) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        n if n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::display;

    #[test]
    fn a_size_is_written_exactly() {
        assert_eq!([0, 1 << 24, 64 << 10, 1025].map(display), ["0 bytes", "16 MiB", "64 KiB", "1025 bytes"]);
    }
}
