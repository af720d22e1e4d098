//! Options out of bounds are refused by name.

use linering::{CreateError, LineBuffer, Options};

#[test]
fn a_maxlen_out_of_bounds_is_named() {
    for maxlen in [0, (1 << 22) + 1, usize::MAX] {
        let error = LineBuffer::new(maxlen).expect_err("out of bounds");
        assert!(matches!(error, CreateError::Option { option: "maxlen", .. }), "{error}");
        assert_eq!(error.to_string(), format!("maxlen is {maxlen}, expected 1 to 4194304"));
    }
}

#[test]
fn an_option_out_of_bounds_is_named_with_the_number_that_was_asked_for() {
    let cases = [
        (Options::new().line_bytes(63), "line_bytes is 63, "),
        (Options::new().lines((1 << 23) + 1), "lines is 8388609, "),
        (Options::new().mirrors(5000), "mirrors is 5000, "),
        (Options::new().mirrors(0), "mirrors is 0, "),
    ];
    for (options, expected) in cases {
        match LineBuffer::with_options(10, options) {
            Ok(_) => panic!("accepted, expected: {expected}"),
            Err(error) => {
                assert!(error.to_string().starts_with(expected), "{error}, expected: {expected}")
            }
        }
    }
}
