//! A CSV line: a customer and at most one number.

use cdm_lambda::domain::ChannelField;
use csv_core::{ReadRecordResult, Reader};

use super::Number;

/// The ccid of a CSV line, and its number if it has one. An empty cell is an absent field.
pub(super) fn csv_line(columns: &[&str], reader: &mut Reader, line: &str) -> Result<(String, Option<Number>), String> {
    let cells = fields(reader, line).ok_or("a quoted field has no end: a field may not hold a line break")?;
    if cells.len() != columns.len() {
        return Err(format!("the line has {} fields, the header {}", cells.len(), columns.len()));
    }
    let mut ccid = String::new();
    let mut number = Number::default();
    for (column, cell) in columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
        match ChannelField::ALL.into_iter().find(|field| field.name() == *column) {
            Some(field) => number.0.push((field, cell)),
            None => ccid = cell,
        }
    }
    Ok((ccid, (!number.0.is_empty()).then_some(number)))
}

/// The fields of a CSV line. `None` if a quote is not closed.
pub(super) fn fields(reader: &mut Reader, line: &str) -> Option<Vec<String>> {
    if line.bytes().filter(|byte| *byte == b'"').count() % 2 == 1 {
        return None;
    }
    reader.reset();
    let mut text = vec![0; line.len() + 1];
    let mut ends = vec![0; line.len() + 2];
    let (mut read, mut written, mut ended) = (0, 0, 0);
    loop {
        // At the end of the line, an empty input ends the record.
        let input = line.as_bytes().get(read..)?;
        let (result, r, w, e) = reader.read_record(input, text.get_mut(written..)?, ends.get_mut(ended..)?);
        read += r;
        written += w;
        ended += e;
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::Record | ReadRecordResult::End => break,
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => return None,
        }
    }
    let mut start = 0;
    let mut fields = Vec::new();
    for end in ends.get(..ended)? {
        // The fields are parts of the line, cut at ASCII characters, so they are UTF-8.
        fields.push(String::from_utf8(text.get(start..*end)?.to_vec()).ok()?);
        start = *end;
    }
    Some(fields)
}
