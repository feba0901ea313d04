//! Condition, update and projection expressions: as much of the language as the function and the operators use. A test
//! compares it with the embedded engine.

use std::collections::{BTreeMap, BTreeSet};

use super::value::{Item, Value};

/// `ExpressionAttributeNames` and `ExpressionAttributeValues`.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// What `#name` stands for.
    pub names: &'a BTreeMap<String, String>,
    /// What `:value` stands for.
    pub values: &'a Item,
}

/// The expression does not fit the item, or is not an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

type Path = Vec<String>;

/// Whether the item fulfils the condition. An absent item has no attributes.
///
/// # Errors
/// A condition that this module cannot read.
pub fn is_fulfilled(condition: &str, item: Option<&Item>, attributes: Attributes<'_>) -> Result<bool, Invalid> {
    let empty = Item::new();
    let mut parser = Parser { tokens: tokens(condition), item: item.unwrap_or(&empty), attributes };
    let fulfilled = parser.or()?;
    parser.end()?;
    Ok(fulfilled)
}

/// Applies an update expression to the item.
///
/// # Errors
/// An update that does not fit the item, as DynamoDB's `ValidationError`.
pub fn update(expression: &str, item: &mut Item, attributes: Attributes<'_>) -> Result<(), Invalid> {
    let before = item.clone();
    let mut parser = Parser { tokens: tokens(expression), item: &before, attributes };
    while let Some(clause) = parser.tokens.pop() {
        loop {
            let path = parser.path()?;
            match clause.to_ascii_uppercase().as_str() {
                "SET" => {
                    parser.expect("=")?;
                    let value = parser.sum()?.ok_or_else(|| invalid("an attribute that is absent"))?;
                    set(item, &path, value)?;
                }
                "REMOVE" => {
                    // Only the parent must exist.
                    if let [parent @ .., last] = path.as_slice() {
                        parent_map(item, parent)?.remove(last);
                    }
                }
                "ADD" => {
                    let operand = parser.operand()?.ok_or_else(|| invalid("no operand"))?;
                    let sum = match (get(&before, &path), operand) {
                        (None, operand) => operand,
                        (Some(Value::N(old)), Value::N(more)) => Value::N(old + more),
                        (Some(Value::Ss(old)), Value::Ss(more)) => Value::Ss(old | &more),
                        _ => return Err(invalid("an operand of another type")),
                    };
                    set(item, &path, sum)?;
                }
                "DELETE" => {
                    let operand = parser.operand()?.ok_or_else(|| invalid("no operand"))?;
                    match (get(&before, &path), operand) {
                        (None, _) => {}
                        (Some(Value::Ss(old)), Value::Ss(less)) => {
                            let rest: BTreeSet<_> = old - &less;
                            if let ([parent @ .., last], true) = (path.as_slice(), rest.is_empty()) {
                                parent_map(item, parent)?.remove(last);
                            } else {
                                set(item, &path, Value::Ss(rest))?;
                            }
                        }
                        _ => return Err(invalid("an operand of another type")),
                    }
                }
                other => return Err(Invalid(format!("the clause {other}"))),
            }
            if !parser.take(",") {
                break;
            }
        }
    }
    Ok(())
}

/// The attributes of the item that the projection names. Only names of the top level.
///
/// # Errors
/// A projection that this module cannot read.
pub fn project(projection: &str, item: &Item, attributes: Attributes<'_>) -> Result<Item, Invalid> {
    let mut parser = Parser { tokens: tokens(projection), item, attributes };
    let mut projected = Item::new();
    loop {
        let path = parser.path()?;
        let [name] = path.as_slice() else { return Err(invalid("a nested projection")) };
        if let Some(value) = item.get(name) {
            projected.insert(name.clone(), value.clone());
        }
        if !parser.take(",") {
            return parser.end().map(|()| projected);
        }
    }
}

fn invalid(what: &str) -> Invalid {
    Invalid(what.to_owned())
}

fn get<'a>(item: &'a Item, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = item.get(first)?;
    if rest.is_empty() { Some(value) } else { get(value.map()?, rest) }
}

fn parent_map<'a>(item: &'a mut Item, path: &[String]) -> Result<&'a mut Item, Invalid> {
    let Some((first, rest)) = path.split_first() else { return Ok(item) };
    match item.get_mut(first) {
        Some(Value::M(map)) => parent_map(map, rest),
        _ => Err(invalid("the document path is invalid for update")),
    }
}

fn set(item: &mut Item, path: &[String], value: Value) -> Result<(), Invalid> {
    let [parent @ .., last] = path else { return Err(invalid("an empty path")) };
    parent_map(item, parent)?.insert(last.clone(), value);
    Ok(())
}

/// The tokens of an expression, the last first.
fn tokens(expression: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |character: char| character.is_alphanumeric() || "_#:".contains(character);
        let length = if is_word(first) {
            rest.find(|character| !is_word(character)).unwrap_or(rest.len())
        } else if ["<>", "<=", ">="].iter().any(|operator| rest.starts_with(operator)) {
            2
        } else {
            first.len_utf8()
        };
        let (token, more) = rest.split_at(length);
        tokens.push(token);
        rest = more.trim_start();
    }
    tokens.reverse();
    tokens
}

struct Parser<'a> {
    tokens: Vec<&'a str>,
    item: &'a Item,
    attributes: Attributes<'a>,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let is_next = self.tokens.last().is_some_and(|next| next.eq_ignore_ascii_case(token));
        if is_next {
            self.tokens.pop();
        }
        is_next
    }

    fn expect(&mut self, token: &str) -> Result<(), Invalid> {
        if self.take(token) { Ok(()) } else { Err(Invalid(format!("{token} before {:?}", self.tokens.last()))) }
    }

    fn end(&self) -> Result<(), Invalid> {
        self.tokens.last().map_or(Ok(()), |token| Err(Invalid(format!("{token} at the end"))))
    }

    fn or(&mut self) -> Result<bool, Invalid> {
        let mut result = self.and()?;
        while self.take("OR") {
            result |= self.and()?;
        }
        Ok(result)
    }

    fn and(&mut self) -> Result<bool, Invalid> {
        let mut result = self.not()?;
        while self.take("AND") {
            result &= self.not()?;
        }
        Ok(result)
    }

    fn not(&mut self) -> Result<bool, Invalid> {
        if self.take("NOT") {
            return Ok(!self.not()?);
        }
        if self.take("(") {
            let result = self.or()?;
            return self.expect(")").map(|()| result);
        }
        for (function, result) in [("attribute_exists", true), ("attribute_not_exists", false)] {
            if self.take(function) {
                self.expect("(")?;
                let path = self.path()?;
                self.expect(")")?;
                return Ok(get(self.item, &path).is_some() == result);
            }
        }
        if self.take("contains") {
            self.expect("(")?;
            let path = self.path()?;
            self.expect(",")?;
            let part = self.operand()?;
            self.expect(")")?;
            return Ok(match (get(self.item, &path), part) {
                (Some(Value::Ss(set)), Some(Value::S(text))) => set.contains(&text),
                _ => false,
            });
        }
        let left = self.operand()?;
        if self.take("IN") {
            self.expect("(")?;
            let mut is_one = false;
            loop {
                let one = self.operand()?;
                is_one |= left.is_some() && one == left;
                if !self.take(",") {
                    return self.expect(")").map(|()| is_one);
                }
            }
        }
        let operator = self.tokens.pop().unwrap_or_default();
        let right = self.operand()?;
        compare(operator, left.as_ref(), right.as_ref())
    }

    fn sum(&mut self) -> Result<Option<Value>, Invalid> {
        let mut sum = self.operand()?;
        loop {
            let sign = if self.take("+") {
                1
            } else if self.take("-") {
                -1
            } else {
                return Ok(sum);
            };
            let (Some(Value::N(left)), Some(Value::N(right))) = (&sum, self.operand()?) else {
                return Err(invalid("an operand of another type"));
            };
            sum = Some(Value::N(left + sign * right));
        }
    }

    /// A value, or the attribute at a path.
    fn operand(&mut self) -> Result<Option<Value>, Invalid> {
        if self.take("if_not_exists") {
            self.expect("(")?;
            let path = self.path()?;
            self.expect(",")?;
            let otherwise = self.operand()?;
            self.expect(")")?;
            return Ok(get(self.item, &path).cloned().or(otherwise));
        }
        if let Some(name) = self.tokens.last().copied().filter(|token| token.starts_with(':')) {
            self.tokens.pop();
            return match self.attributes.values.get(name) {
                Some(value) => Ok(Some(value.clone())),
                None => Err(Invalid(format!("no value {name}"))),
            };
        }
        let path = self.path()?;
        Ok(get(self.item, &path).cloned())
    }

    fn path(&mut self) -> Result<Path, Invalid> {
        let mut path = Vec::new();
        loop {
            let name = self.tokens.pop().ok_or_else(|| invalid("a path is missing"))?;
            let name = match name.strip_prefix('#') {
                None if name.chars().all(|character| character.is_alphanumeric() || character == '_') => name,
                None => return Err(Invalid(format!("{name} as a path"))),
                Some(_) => self.attributes.names.get(name).ok_or_else(|| Invalid(format!("no name {name}")))?,
            };
            path.push(name.to_owned());
            if !self.take(".") {
                return Ok(path);
            }
        }
    }
}

fn compare(operator: &str, left: Option<&Value>, right: Option<&Value>) -> Result<bool, Invalid> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let ordering = match (left, right) {
        (Some(Value::N(left)), Some(Value::N(right))) => Some(left.cmp(right)),
        (Some(Value::S(left)), Some(Value::S(right))) => Some(left.cmp(right)),
        _ => None,
    };
    Ok(match operator {
        "=" => left.is_some() && left == right,
        "<>" => left != right || left.is_none(),
        "<" => ordering == Some(Less),
        "<=" => matches!(ordering, Some(Less | Equal)),
        ">" => ordering == Some(Greater),
        ">=" => matches!(ordering, Some(Greater | Equal)),
        other => return Err(Invalid(format!("the operator {other}"))),
    })
}
