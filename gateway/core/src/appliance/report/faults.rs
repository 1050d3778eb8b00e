//! What the system says of a fault, in words for people.
//!
//! Invariant: no number of an error is in the report.

/// As the C library words it (errno(3), strerror(3)), and what that means to somebody with the card in their hand.
const FAULTS: [(&str, &str); 17] = [
    ("Operation not permitted", "the system does not allow it"),
    ("Permission denied", "the system does not allow it"),
    ("No such file or directory", "it is not there"),
    ("No such device or address", "the device is not there"),
    ("No such device", "the device is not there"),
    ("Input/output error", "there are read or write errors"),
    ("Device or resource busy", "another program uses it"),
    ("Is a directory", "it is a folder"),
    ("No space left on device", "no room is left"),
    ("Read-only file system", "it cannot be written"),
    ("Broken pipe", "the other side has hung up"),
    ("Connection reset by peer", "the other side has hung up"),
    ("Network is unreachable", "there is no network"),
    ("No route to host", "nothing answers there"),
    ("Connection timed out", "nothing answers there"),
    ("Connection refused", "nobody listens there"),
    ("Address already in use", "another program listens there already"),
];
/// Behind the words, as Rust's `io::Error` shows the number.
const NUMBER: &str = " (os error ";

/// The same text with the system's words replaced, where they stand with their number.
pub fn in_words(text: &str) -> String {
    let mut rest = text;
    let mut told = String::with_capacity(text.len());
    while let Some(at) = rest.find(NUMBER) {
        let (before, behind) = rest.split_at(at);
        let number = &behind[NUMBER.len()..];
        let Some(end) = number.find(')').filter(|end| number[..*end].bytes().all(|byte| byte.is_ascii_digit())) else {
            told.push_str(before);
            told.push_str(NUMBER);
            rest = number;
            continue;
        };
        match FAULTS.iter().find_map(|(fault, words)| Some((before.strip_suffix(fault)?, words))) {
            Some((before, words)) => {
                told.push_str(before);
                told.push_str(words);
            }
            None => told.push_str(before),
        }
        rest = &number[end + 1..];
    }
    told.push_str(rest);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_in_words_and_their_numbers_are_not() {
        let words = in_words("/dev/ttyUSB0: Permission denied (os error 13), then Odd fault (os error 999)");
        assert_eq!(words, "/dev/ttyUSB0: the system does not allow it, then Odd fault");
        assert_eq!(
            in_words("Permission denied (os error x) and (os error "),
            "Permission denied (os error x) and (os error "
        );
        for (fault, words) in FAULTS {
            assert_eq!(in_words(&format!("a: {fault} (os error 5)")), format!("a: {words}"));
        }
    }

    #[test]
    fn the_system_words_them_so() {
        for (number, fault) in [(1, 0), (13, 1), (2, 2), (6, 3), (19, 4), (5, 5), (16, 6), (28, 8), (30, 9), (111, 15)]
        {
            assert!(std::io::Error::from_raw_os_error(number).to_string().starts_with(FAULTS[fault].0), "{number}");
        }
    }
}
