//! Reading the whole table, in parallel and with bounded memory.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use cdm_lambda::store::items::Item;
use tokio::task::JoinSet;

use crate::Failure;
use crate::connection::Connection;

/// How to read.
#[derive(Debug, Clone, Copy)]
pub struct Scan {
    /// How many parts of the table are read at once.
    pub segments: i32,
    /// How many items are asked for at a time, which bounds the memory: segments × page × the size of an item.
    pub page: i32,
}

impl Default for Scan {
    fn default() -> Self {
        Self { segments: 8, page: 500 }
    }
}

/// What is read, where it is not everything.
#[derive(Debug, Clone)]
pub(crate) struct Only {
    pub(crate) filter: &'static str,
    pub(crate) values: HashMap<String, AttributeValue>,
}

impl Scan {
    /// Gives every item to `each`, as many at a time as there are segments. The reads are eventually consistent, which
    /// costs half: each item is whole, but two of them may be of different moments.
    pub(crate) async fn each<F>(
        self,
        connection: &Connection,
        only: Option<Only>,
        each: impl Fn(Item) -> F + Clone + Send + Sync + 'static,
    ) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>> + Send,
    {
        let connection = Arc::new(connection.clone());
        let mut segments = JoinSet::new();
        for segment in 0..self.segments {
            let (connection, only, each) = (Arc::clone(&connection), only.clone(), each.clone());
            segments.spawn(async move { self.segment(segment, &connection, only, each).await });
        }
        // The first failure ends the others, which stop where they are.
        while let Some(ended) = segments.join_next().await {
            ended.map_err(|_| Failure("a part of the scan broke off".to_owned()))??;
        }
        Ok(())
    }

    async fn segment<F>(
        self,
        segment: i32,
        connection: &Connection,
        only: Option<Only>,
        each: impl Fn(Item) -> F,
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
            .limit(self.page);
        if let Some(Only { filter, values }) = only {
            scan = scan.filter_expression(filter).set_expression_attribute_values(Some(values));
        }
        let mut pages = scan.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| connection.failed("the table cannot be read", &error))?;
            for item in page.items.unwrap_or_default() {
                each(item).await?;
            }
        }
        Ok(())
    }
}
