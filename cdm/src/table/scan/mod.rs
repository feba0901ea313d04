//! Reading the whole table, in parallel and with bounded memory.

pub mod pace;
pub(crate) mod resume;
pub(crate) mod sums;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use cdm_lambda::store::items::Item;
use tokio::task::JoinSet;

use crate::table::connection::Connection;
use crate::table::scan::pace::Pace;
use crate::ui::Failure;

/// How to read.
#[derive(Debug, Clone)]
pub struct Scan {
    /// How many parts of the table are read at once.
    pub segments: i32,
    /// How many items one call reads. It bounds the memory: segments × page × the size of an item.
    pub page: i32,
    /// The limit on read units.
    pub pace: Arc<Pace>,
}

impl Default for Scan {
    fn default() -> Self {
        Self { segments: 8, page: 500, pace: Arc::default() }
    }
}

/// Selects the items that a scan returns. The whole table is still read.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) expression: &'static str,
    pub(crate) values: HashMap<String, AttributeValue>,
}

/// The progress in one part of the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Position {
    #[default]
    Beginning,
    /// Read up to and including the item with this key.
    After(Item),
    End,
}

/// Consecutive items of one part of the table.
pub(crate) struct Page {
    /// The part.
    pub(crate) segment: usize,
    pub(crate) items: Vec<Item>,
    /// The progress in the part after this page.
    pub(crate) position: Position,
}

impl Scan {
    /// Passes every item to `each`, as many at the same time as there are segments. The reads are eventually
    /// consistent, which costs half: each item is consistent, but two items may show different moments.
    pub(crate) async fn each<F>(
        &self,
        connection: &Connection,
        filter: Option<Filter>,
        each: impl Fn(Item) -> F + Clone + Send + Sync + 'static,
    ) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>> + Send,
    {
        let page = move |page: Page| {
            let each = each.clone();
            async move {
                for item in page.items {
                    each(item).await?;
                }
                Ok(())
            }
        };
        self.pages(connection, filter, &[], page).await
    }

    /// Whether any item passes the filter. Stops at the first one.
    pub(crate) async fn any(&self, connection: &Connection, filter: Filter) -> Result<bool, Failure> {
        let is_there = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_there);
        let stop = move |page: Page| {
            let is_empty = page.items.is_empty();
            if !is_empty {
                seen.store(true, Relaxed);
            }
            async move { if is_empty { Ok(()) } else { Err(Failure(String::new())) } }
        };
        let ended = self.pages(connection, Some(filter), &[], stop).await;
        if is_there.load(Relaxed) { Ok(true) } else { ended.map(|()| false) }
    }

    /// Passes every page to `each`, starting at these positions. A part without a position is read from its
    /// beginning.
    pub(crate) async fn pages<F>(
        &self,
        connection: &Connection,
        filter: Option<Filter>,
        from: &[Position],
        each: impl Fn(Page) -> F + Clone + Send + Sync + 'static,
    ) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>> + Send,
    {
        let connection = Arc::new(connection.clone());
        let mut segments = JoinSet::new();
        for segment in 0..self.segments {
            let from = usize::try_from(segment).ok().and_then(|segment| from.get(segment)).cloned().unwrap_or_default();
            let (scan, connection, filter, each) =
                (self.clone(), Arc::clone(&connection), filter.clone(), each.clone());
            segments.spawn(async move { scan.segment(segment, &connection, filter, from, each).await });
        }
        // The first failure stops the other parts.
        while let Some(ended) = segments.join_next().await {
            ended.map_err(|_| Failure("a part of the scan failed".to_owned()))??;
        }
        Ok(())
    }

    async fn segment<F>(
        self,
        segment: i32,
        connection: &Connection,
        filter: Option<Filter>,
        mut position: Position,
        each: impl Fn(Page) -> F,
    ) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let mut scan = connection
            .client
            .scan()
            .table_name(&connection.table)
            .total_segments(self.segments)
            .segment(segment)
            .limit(self.pace.page(self.page));
        if let Some(Filter { expression, values }) = filter {
            scan = scan.filter_expression(expression).set_expression_attribute_values(Some(values));
        }
        if self.pace.is_limited() {
            scan = scan.return_consumed_capacity(ReturnConsumedCapacity::Total);
        }
        loop {
            let from = match position {
                Position::Beginning => None,
                Position::After(key) => Some(key),
                Position::End => return Ok(()),
            };
            let turn = self.pace.turn().await;
            let read = scan.clone().set_exclusive_start_key(from).send().await;
            let read = read.map_err(|error| connection.failed("the table cannot be read", &error))?;
            turn.took(read.consumed_capacity.as_ref().and_then(|capacity| capacity.capacity_units));
            // DynamoDB may also mark the end with an empty key.
            position = match read.last_evaluated_key.filter(|key| !key.is_empty()) {
                Some(key) => Position::After(key),
                None => Position::End,
            };
            let segment = usize::try_from(segment).unwrap_or_default();
            each(Page { segment, items: read.items.unwrap_or_default(), position: position.clone() }).await?;
        }
    }
}

/// Runs up to this number of tasks at the same time. Returns their results in the order of the work, whichever ends
/// first.
pub(crate) async fn concurrently<T, R, F>(
    at_once: usize,
    work: impl IntoIterator<Item = T>,
    each: impl Fn(T) -> F,
) -> Result<Vec<R>, Failure>
where
    R: Send + 'static,
    F: Future<Output = Result<R, Failure>> + Send + 'static,
{
    let (mut tasks, mut done) = (JoinSet::new(), Vec::new());
    let ended = |ended: Result<(usize, Result<R, Failure>), _>| match ended {
        Ok((index, result)) => result.map(|result| (index, result)),
        Err(_) => Err(Failure("a part of the work failed".to_owned())),
    };
    for (index, part) in work.into_iter().enumerate() {
        if tasks.len() >= at_once
            && let Some(part) = tasks.join_next().await
        {
            done.push(ended(part)?);
        }
        let part = each(part);
        tasks.spawn(async move { (index, part.await) });
    }
    while let Some(part) = tasks.join_next().await {
        done.push(ended(part)?);
    }
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    /// Each task waits for the next one, so they end in the opposite order.
    #[tokio::test]
    async fn the_results_are_in_the_order_of_the_work() {
        let (last_ended, _) = watch::channel(3);
        let each = |index: u32| {
            let last_ended = last_ended.clone();
            async move {
                let mut ended = last_ended.subscribe();
                let _ = ended.wait_for(|ended| *ended == index + 1).await;
                last_ended.send_replace(index);
                Ok(index)
            }
        };
        assert_eq!(concurrently(3, 0..3, each).await.unwrap(), [0, 1, 2]);
    }
}
