//! The part of Painless that the triggers of monitors need: numbers, paths from `ctx` or `params`, which are numbers,
//! arithmetic, comparisons of numbers, and `!`, `&&` and `||` of conditions. No I/O.

/// Checks that a script is one condition.
///
/// # Errors
/// The first mistake, with its position in bytes.
pub(super) fn check(source: &str) -> Result<(), String> {
    let mut script = Script { source, at: 0 };
    match script.either()? {
        _ if !script.rest().is_empty() => Err(script.expected("an operator")),
        Kind::Condition => Ok(()),
        Kind::Number => Err("a number is no condition".to_owned()),
    }
}

/// What an expression is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Condition,
}

/// A script as far as it is read: for each level of precedence, lowest first, one method reads an expression and says what
/// it is.
struct Script<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Script<'s> {
    fn either(&mut self) -> Result<Kind, String> {
        self.chain(&["||"], Kind::Condition, Self::both)
    }

    fn both(&mut self) -> Result<Kind, String> {
        self.chain(&["&&"], Kind::Condition, Self::comparison)
    }

    fn comparison(&mut self) -> Result<Kind, String> {
        let left = self.sum()?;
        if !["<=", ">=", "<", ">", "==", "!="].iter().any(|sign| self.skip(sign)) {
            return Ok(left);
        }
        self.be(left, Kind::Number)?;
        let right = self.sum()?;
        self.be(right, Kind::Number)?;
        Ok(Kind::Condition)
    }

    fn sum(&mut self) -> Result<Kind, String> {
        self.chain(&["+", "-"], Kind::Number, Self::product)
    }

    fn product(&mut self) -> Result<Kind, String> {
        self.chain(&["*"], Kind::Number, Self::one)
    }

    fn one(&mut self) -> Result<Kind, String> {
        if self.skip("!") {
            let kind = self.one()?;
            return self.be(kind, Kind::Condition);
        }
        if self.skip("(") {
            let kind = self.either()?;
            return self.close(")").map(|()| kind);
        }
        if self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return self.number();
        }
        match self.word() {
            "ctx" | "params" => self.path(),
            _ => Err(self.expected("a number, ctx or params")),
        }
    }

    /// A whole number of 32 bits, or one with a point.
    fn number(&mut self) -> Result<Kind, String> {
        let start = self.at;
        let digits = self.digits()?;
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(format!("{digits} begins with a zero"));
        }
        let whole = digits.parse::<i32>().is_ok();
        let point = self.rest().starts_with('.');
        if point {
            self.at += 1;
            self.digits()?;
        }
        let power = self.rest().starts_with('e');
        if power {
            self.at += 1;
            self.at += usize::from(self.rest().starts_with('-'));
            self.digits()?;
        }
        if whole || point || power {
            return Ok(Kind::Number);
        }
        Err(format!("{} is too large for a whole number", &self.source[start..self.at]))
    }

    fn digits(&mut self) -> Result<&'s str, String> {
        let digits = self.take(|c| c.is_ascii_digit());
        if digits.is_empty() { Err(self.expected("a digit")) } else { Ok(digits) }
    }

    /// What follows `ctx` or `params`: names, and in brackets positions and quoted names.
    fn path(&mut self) -> Result<Kind, String> {
        let mut read = false;
        loop {
            if self.rest().starts_with('.') {
                self.at += 1;
                if self.word().is_empty() {
                    return Err(self.expected("a name"));
                }
            } else if self.skip("[") {
                if self.skip("'") {
                    self.take(|c| !"'\\".contains(c));
                    self.close("'")?;
                } else {
                    self.number()?;
                }
                self.close("]")?;
            } else if read {
                return Ok(Kind::Number);
            } else {
                return Err(self.expected("a name"));
            }
            read = true;
        }
    }

    /// One of `parts`, or several with one of the signs between them; then all are of the kind.
    fn chain(
        &mut self,
        signs: &[&str],
        kind: Kind,
        part: fn(&mut Self) -> Result<Kind, String>,
    ) -> Result<Kind, String> {
        let mut left = part(self)?;
        while signs.iter().any(|sign| self.skip(sign)) {
            self.be(left, kind)?;
            let right = part(self)?;
            left = self.be(right, kind)?;
        }
        Ok(left)
    }

    fn be(&self, is: Kind, wanted: Kind) -> Result<Kind, String> {
        let name = |kind| if kind == Kind::Number { "a number" } else { "a condition" };
        let wrong = || format!("{} stands where {} belongs, before position {}", name(is), name(wanted), self.at);
        (is == wanted).then_some(is).ok_or_else(wrong)
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn take(&mut self, of: impl Fn(char) -> bool) -> &'s str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !of(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// A name, or nothing.
    fn word(&mut self) -> &'s str {
        if self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return "";
        }
        self.take(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// Passes over spaces, the sign if it is next, and the spaces behind it.
    fn skip(&mut self, sign: &str) -> bool {
        self.take(|c| c == ' ');
        let next = self.rest().starts_with(sign);
        if next {
            self.at += sign.len();
            self.take(|c| c == ' ');
        }
        next
    }

    fn close(&mut self, sign: &str) -> Result<(), String> {
        if self.skip(sign) { Ok(()) } else { Err(self.expected(sign)) }
    }

    fn expected(&self, what: &str) -> String {
        format!("{what} is missing at position {}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_conditions_pass() {
        for (source, good) in [
            ("ctx.results[0].hits.total.value > 0", true),
            ("ctx.results[0].aggregations['a)'].value > 0", true),
            ("params.b > 50", true),
            ("ctx.results[0.hits", false),
            ("ctx.a)", false),
            ("ctx['a", false),
            ("return tru", false),
            ("ctx.results.length > 0 && !(params.a * 2 + 1 <= 0.5 || params['b c'] != 1e-7)", true),
            ("(((ctx.a > 1)))", true),
            ("ctx.a-ctx.b<=5||!(ctx.a==2)", true),
            ("", false),
            ("ctx > 1", false),
            ("ctx. > 1", false),
            ("ctx.a", false),
            ("ctx.a >", false),
            ("ctx.a > > 1", false),
            ("ctx.a => 1", false),
            ("ctx.a > 1 &&", false),
            ("ctx.a > 1 & ctx.b > 1", false),
            ("ctx.a > 1 ctx.b > 1", false),
            ("ctx.a > 1 && ctx.b", false),
            ("(ctx.a > 1) + 1 > 0", false),
            ("ctx.a > (ctx.b > 1)", false),
            ("!ctx.a > 1", false),
            ("ctx.a > 1;", false),
            ("ctx.a > 01", false),
            ("ctx.a > 1 - -1", false),
            ("ctx.1a > 1", false),
            ("ctx. a > 1", false),
            ("ctx.a > 1e--7", false),
            ("ctx.a > 1.", false),
            ("ctx.a > 1.2.3", false),
            ("ctx.a > 2147483647", true),
            ("ctx.a > 2147483648", false),
            ("ctx.a > 'b'", false),
            ("ctx[a] > 1", false),
            ("ctx.é > 1", false),
            ("doc.a > 1", false),
        ] {
            assert_eq!(check(source).is_ok(), good, "{source}: {:?}", check(source));
        }
    }
}
