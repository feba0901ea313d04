//! Accepts connections, and carries out the fault of each request.

use std::io;
use std::sync::Arc;

use serde_json::json;
use testkit::http1::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::messages::{Call, JSON, cancelled, error};
use super::{Progress, Shared};
use crate::fault_table::{Applied, Ending, Fault};

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        let Ok((stream, _)) = accepted else { break };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // An error means that the client closed the connection.
            let _ = serve_connection(stream, shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
    connections.shutdown().await;
}

async fn serve_connection(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    while let Some(message) = Message::read(&mut stream).await? {
        let call = Arc::new(Call::parse(message));
        let (Fault(applied, ending), gate) = shared.state().choose(&call);
        let response = match applied {
            Applied::Immediately => Some(shared.send(&call, std::future::ready(())).await.unwrap()?),
            Applied::Late => {
                shared.send(&call, shared.delay());
                None
            }
            Applied::Never => None,
        };
        if let Some(gate) = gate {
            gate.pass().await;
        }
        let sent = end(&mut stream, &call, ending, response).await?;
        shared.progress.send_modify(|progress| progress.ended += 1);
        match sent {
            Some(response) => response.write(&mut stream).await?,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// What the client receives; `None` closes the connection.
async fn end(
    stream: &mut TcpStream,
    call: &Call,
    ending: Ending,
    response: Option<Message>,
) -> io::Result<Option<Message>> {
    Ok(Some(match ending {
        Ending::Response => response.unwrap(),
        Ending::Reset => {
            stream.set_zero_linger()?;
            return Ok(None);
        }
        Ending::Silence => {
            let _ = stream.read(&mut [0]).await;
            return Ok(None);
        }
        Ending::Partial => {
            let whole = response.unwrap().to_bytes();
            stream.write_all(&whole[..whole.len() - 1]).await?;
            return Ok(None);
        }
        Ending::Garbage => Message::response(200, &JSON, b"<html>It works!</html>".to_vec()),
        Ending::Empty => Message::response(200, &JSON, Vec::new()),
        Ending::Error(status, code) => error(status, code, json!({})),
        Ending::Page(status) => Message::response(status, &[("content-type", "text/html")], b"<html>".to_vec()),
        Ending::Cancelled(codes) => cancelled(&codes, call),
    }))
}

impl Shared {
    /// Applies the request after `delay`, even if its connection closes meanwhile.
    fn send(
        self: &Arc<Self>,
        call: &Arc<Call>,
        delay: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<io::Result<Message>> {
        self.in_flight.send_modify(|in_flight| *in_flight += 1);
        let (shared, call) = (Arc::clone(self), Arc::clone(call));
        tokio::spawn(async move {
            delay.await;
            let response = shared.apply(&call).await;
            shared.in_flight.send_modify(|in_flight| *in_flight -= 1);
            response
        })
    }

    /// Ends after some other requests have ended: with random faults after up to 30, otherwise when the faults are cleared.
    fn delay(&self) -> impl Future<Output = ()> + use<> {
        let others = self.state().faults.random.as_mut().map(|faults| faults.generator.u64(1..=30));
        let mut progress = self.progress.subscribe();
        let before = *progress.borrow();
        let is_over = move |now: &Progress| {
            now.cleared > before.cleared || others.is_some_and(|others| now.ended >= before.ended + others)
        };
        async move {
            let _ = progress.wait_for(is_over).await;
        }
    }
}
