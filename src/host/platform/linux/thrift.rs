//! A keeper at rest needs little of the program that both it and its engine are: it gives back the memory of the rest.

use std::ffi::c_void;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Lets go of the pages of program code that are in memory. Those that are needed again come back from the file, which the
/// engine has in memory anyway.
pub fn let_go_of_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in maps.lines().filter_map(code_range) {
        if let Some(start) = NonNull::new(start as *mut c_void) {
            // SAFETY: the range is a mapping of program code, which is never written to: what is dropped is read again from
            // its file, unchanged. A failure changes nothing.
            let _ = unsafe { madvise(start, length, MmapAdvise::MADV_DONTNEED) };
        }
    }
}

/// Start and length of a mapping that holds nothing but code from a file.
fn code_range(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp";
    let is_of_a_file = fields.nth(3)?.starts_with('/');
    let (start, end) = (
        usize::from_str_radix(start, 16).ok()?,
        usize::from_str_radix(end, 16).ok()?,
    );
    (is_code && is_of_a_file).then_some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_from_a_file_is_let_go_of() {
        let code = "7f00-8f00 r-xp 00022000 fe:00 123    /usr/lib/libc.so.6";
        assert_eq!(code_range(code), Some((0x7f00, 0x1000)));
        for other in [
            "7f00-8f00 rw-p 00022000 fe:00 123    /usr/lib/libc.so.6",
            "7f00-8f00 r--p 00022000 fe:00 123    /usr/lib/libc.so.6",
            "7f00-8f00 r-xp 00000000 00:00 0      [vdso]",
            "7f00-8f00 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(code_range(other), None, "{other}");
        }
    }
}
