//! [`TextRecord`]: how elements look as text.

/// How an element looks as a line of text: Spark's form, that of Scala's `toString`. `(a,b)` is a pair, `Some(a)` what is
/// there, `1.0E7` ten million as a float, and a Vec is written as Java writes its lists: `[a, b]`.
pub trait TextRecord {
    /// Appends the element to `line`, without a line end.
    fn write_text(&self, line: &mut String);
}

macro_rules! text_by_display {
    ($($t:ty),*) => {$(
        impl TextRecord for $t {
            fn write_text(&self, line: &mut String) {
                use std::fmt::Write;
                // Writing to a String cannot fail.
                let _ = write!(line, "{self}");
            }
        }
    )*};
}
text_by_display!(bool, char);

macro_rules! text_of_integer {
    ($($t:ty),*) => {$(
        impl TextRecord for $t {
            fn write_text(&self, line: &mut String) {
                line.push_str(itoa::Buffer::new().format(*self));
            }
        }
    )*};
}
text_of_integer!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

/// As Java's `toString` of doubles and floats: the fewest digits that give the number back, with a point, and with an
/// exponent below a thousandth and from ten million on.
macro_rules! text_of_float {
    ($($t:ty),*) => {$(
        impl TextRecord for $t {
            fn write_text(&self, line: &mut String) {
                use std::fmt::Write;
                if !self.is_finite() {
                    line.push_str(if self.is_nan() { "NaN" } else if *self > 0.0 { "Infinity" } else { "-Infinity" });
                    return;
                }
                let start = line.len();
                // Writing to a String cannot fail.
                let _ = if *self == 0.0 || (1e-3..1e7).contains(&self.abs()) {
                    write!(line, "{self:?}")
                } else {
                    write!(line, "{self:e}")
                };
                let Some(exponent) = line[start..].find('e').map(|at| start + at) else { return };
                if !line[start..exponent].contains('.') {
                    // Of those with two digits Java takes the nearest, which with few bits ends in no zero: 4.9E-324.
                    line.truncate(start);
                    let _ = write!(line, "{self:.1e}");
                }
                if let Some(at) = line[start..].find('e') {
                    line.replace_range(start + at..start + at + 1, "E");
                }
            }
        }
    )*};
}
text_of_float!(f32, f64);

impl TextRecord for String {
    fn write_text(&self, line: &mut String) {
        line.push_str(self);
    }
}

impl TextRecord for firesteel_common::Str {
    fn write_text(&self, line: &mut String) {
        line.push_str(self);
    }
}

impl<T: TextRecord + ?Sized> TextRecord for Box<T> {
    fn write_text(&self, line: &mut String) {
        (**self).write_text(line);
    }
}

impl<T: TextRecord + ?Sized> TextRecord for std::sync::Arc<T> {
    fn write_text(&self, line: &mut String) {
        (**self).write_text(line);
    }
}

impl TextRecord for str {
    fn write_text(&self, line: &mut String) {
        line.push_str(self);
    }
}

impl TextRecord for () {
    fn write_text(&self, line: &mut String) {
        line.push_str("()");
    }
}

impl<T: TextRecord> TextRecord for Option<T> {
    fn write_text(&self, line: &mut String) {
        match self {
            Some(x) => {
                line.push_str("Some(");
                x.write_text(line);
                line.push(')');
            }
            None => line.push_str("None"),
        }
    }
}

impl<T: TextRecord> TextRecord for Vec<T> {
    fn write_text(&self, line: &mut String) {
        line.push('[');
        for (i, x) in self.iter().enumerate() {
            if i > 0 {
                line.push_str(", ");
            }
            x.write_text(line);
        }
        line.push(']');
    }
}

macro_rules! text_tuple {
    ($($name:ident . $index:tt),+) => {
        impl<$($name: TextRecord),+> TextRecord for ($($name,)+) {
            fn write_text(&self, line: &mut String) {
                line.push('(');
                $(
                    if $index > 0 {
                        line.push(',');
                    }
                    self.$index.write_text(line);
                )+
                line.push(')');
            }
        }
    };
}
text_tuple!(A.0, B.1);
text_tuple!(A.0, B.1, C.2);
text_tuple!(A.0, B.1, C.2, D.3);
text_tuple!(A.0, B.1, C.2, D.3, E.4);
text_tuple!(A.0, B.1, C.2, D.3, E.4, F.5);

#[cfg(test)]
mod tests {
    use super::*;

    fn text(x: impl TextRecord) -> String {
        let mut line = String::from("1.0e5 ");
        x.write_text(&mut line);
        line.split_off(6)
    }

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        let doubles = [
            1.0,
            0.1,
            1e7,
            1.5e10,
            1e16,
            1e-5,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            -f64::NAN,
            -0.0,
            0.0,
            1234567.0,
            9999999.999,
            0.001,
            0.00099999,
            -1e7,
            123456789.125,
            5e-324,
            2e23,
            1e23,
            f64::MAX,
            f64::MIN_POSITIVE,
            1.5e300,
            100.0,
            9.5e-4,
            0.3,
            1.0 / 3.0,
        ];
        let want = [
            "1.0",
            "0.1",
            "1.0E7",
            "1.5E10",
            "1.0E16",
            "1.0E-5",
            "Infinity",
            "-Infinity",
            "NaN",
            "NaN",
            "-0.0",
            "0.0",
            "1234567.0",
            "9999999.999",
            "0.001",
            "9.9999E-4",
            "-1.0E7",
            "1.23456789125E8",
            "4.9E-324",
            "2.0E23",
            "1.0E23",
            "1.7976931348623157E308",
            "2.2250738585072014E-308",
            "1.5E300",
            "100.0",
            "9.5E-4",
            "0.3",
            "0.3333333333333333",
        ];
        assert_eq!(doubles.map(text), want);
    }

    #[test]
    fn floats_are_written_as_java_writes_them() {
        let floats =
            [1.0f32, 0.1, 1e7, 1e10, 1e-5, 0.001, 16777216.0, f32::from_bits(1), f32::MAX, f32::NEG_INFINITY, -0.0];
        let want = [
            "1.0",
            "0.1",
            "1.0E7",
            "1.0E10",
            "1.0E-5",
            "0.001",
            "1.6777216E7",
            "1.4E-45",
            "3.4028235E38",
            "-Infinity",
            "-0.0",
        ];
        assert_eq!(floats.map(text), want);
    }

    #[test]
    fn compound_elements_are_written_as_scala_writes_them() {
        assert_eq!(text((1e7, Some(f64::INFINITY))), "(1.0E7,Some(Infinity))");
        assert_eq!(text(((1, true), 'x', "a b".to_owned(), ())), "((1,true),x,a b,())");
        assert_eq!(text((None::<u8>, Some(Some((1u8, 2.0f32))))), "(None,Some(Some((1,2.0))))");
        assert_eq!(text(vec![1.0, 1e-9]), "[1.0, 1.0E-9]");
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(bits: u64, single: u32) {
            let (double, float) = (f64::from_bits(bits), f32::from_bits(single));
            if double.is_finite() && float.is_finite() {
                proptest::prop_assert_eq!(text(double).parse::<f64>().map(f64::to_bits), Ok(bits));
                proptest::prop_assert_eq!(text(float).parse::<f32>().map(f32::to_bits), Ok(single));
            }
        }
    }
}
