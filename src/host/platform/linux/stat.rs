//! One line of `/proc/<pid>/stat`.

/// The fields we need of `/proc/<pid>/stat`, see proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub alive: bool,
    /// The first thread has ended, others have not.
    pub headless: bool,
    pub halted: bool,
    pub group: i32,
    session: i32,
    pub start_ticks: u64,
    pub rss_pages: u64,
    /// Its arguments and environment have their place in its memory; in the middle of an exec, and once it has ended, they
    /// have none.
    pub laid_out: bool,
}

impl Stat {
    pub fn parse(text: &str) -> Option<Stat> {
        // The command's name stands in parentheses and may hold spaces and parentheses of its own.
        let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
        let state = fields.next()?;
        let _parent = fields.next()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        // The number of threads is field 20 of the line, the start time field 22, resident pages field 24, the beginning of
        // the environment field 50; the session was field 6.
        let threads: u32 = fields.nth(13)?.parse().ok()?;
        let start_ticks = fields.nth(1)?.parse().ok()?;
        let rss_pages = fields.nth(1)?.parse().ok()?;
        let laid_out = fields.nth(25).is_some_and(|environment| environment != "0");
        let ended = matches!(state, "Z" | "X" | "x");
        // The state is that of the first thread, which may end before the others. It counts until they have ended too.
        let headless = ended && threads > 1;
        Some(Stat {
            alive: !ended || headless,
            headless,
            halted: state == "T",
            group,
            session,
            start_ticks,
            rss_pages,
            laid_out,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_whose_command_is_hostile() {
        let line = "4242 (a) b (c) S 1 4200 4100 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        let stat = Stat::parse(line).expect("a stat line");
        assert_eq!(
            stat,
            Stat {
                alive: true,
                headless: false,
                halted: false,
                group: 4200,
                session: 4100,
                start_ticks: 987_654,
                rss_pages: 2,
                laid_out: false
            }
        );
        assert!(
            Stat::parse(&line.replace(" S ", " T "))
                .expect("a stat line")
                .halted
        );
        assert!(
            !Stat::parse(&line.replace(" S ", " Z "))
                .expect("a stat line")
                .alive
        );
        let laid_out = |environment: &str| {
            let line = format!("{line}{} {environment} 51", " 1".repeat(24));
            Stat::parse(&line).expect("a stat line").laid_out
        };
        assert!(laid_out("140723") && !laid_out("0"));
        let headless = line.replace(" S ", " Z ").replace(" 20 0 1 ", " 20 0 3 ");
        let headless = Stat::parse(&headless).expect("a stat line");
        assert!(headless.alive && headless.headless);
        assert_eq!(Stat::parse("4242 (cut"), None);
        assert_eq!(Stat::parse("4242 (cut) S 1"), None);
    }
}
