//! The lines of a head as they are written. Nothing here knows what a field means.

/// Copies fields from a head to another. Lines that follow each other are copied at once.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    head: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Lines<'a> {
    /// Fields to come are slices of `head`.
    pub(super) fn of(head: &'a [u8]) -> Lines<'a> {
        Lines {
            head,
            start: 0,
            end: 0,
        }
    }

    /// Copies a field, at the latest with [`Lines::finish`]. The line is written anew unless it came just as it would
    /// be written.
    pub(super) fn pass(&mut self, field: &httparse::Header<'_>, out: &mut Vec<u8>) {
        let name = field.name.as_bytes();
        let start = self.position(name);
        let value_start = self.position(field.value);
        let value_end = value_start.wrapping_add(field.value.len());
        let is_as_written = value_start == start.wrapping_add(name.len() + 2)
            && self.head.get(value_start.wrapping_sub(2)..value_start) == Some(b": ")
            && self.head.get(value_end..value_end.wrapping_add(2)) == Some(b"\r\n");
        if !is_as_written {
            self.finish(out);
            write_field(out, field.name, field.value);
            return;
        }
        if start != self.end {
            self.finish(out);
            self.start = start;
        }
        self.end = value_end + 2;
    }

    /// Copies what has not been copied yet.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head[self.start..self.end]);
        self.start = self.end;
    }

    /// Where a part of the head begins; something beyond its end for what is no part of it.
    fn position(&self, part: &[u8]) -> usize {
        part.as_ptr().addr().wrapping_sub(self.head.as_ptr().addr())
    }
}

/// Adds a line with a field.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Adds a number in decimal. Formatting with the standard library costs several times as much.
pub(super) fn write_decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).expect("a digit is less than ten");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_copied_as_they_would_be_written() {
        let head = b"A: 1\r\nB:  2\r\nC: 3 \r\nD:\r\nE: 5\r\nF: 6\r\nG: 7\r\n\r\n";
        let mut fields = [httparse::EMPTY_HEADER; 8];
        let (_, fields) = httparse::parse_headers(head, &mut fields).unwrap().unwrap();
        let (mut lines, mut out) = (Lines::of(head), Vec::new());
        for field in fields.iter().filter(|field| field.name != "F") {
            lines.pass(field, &mut out);
        }
        lines.finish(&mut out);
        let expected = "A: 1\r\nB: 2\r\nC: 3\r\nD: \r\nE: 5\r\nG: 7\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 80, 65535, u64::MAX] {
            let mut out = Vec::new();
            write_decimal(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
