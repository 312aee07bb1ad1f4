//! What goes through the door: frames of a length, a letter that says what it is, and bytes or JSON.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio_util::codec::{Decoder, Encoder, Framed, LengthDelimitedCodec};

use super::{Answer, End, Request};
use crate::machine::{Said, Told};

/// One of the two ends.
pub type Connection = Framed<UnixStream, Codec>;
/// The half that is read.
pub type Hearing = SplitStream<Connection>;
/// The half that is written.
pub type Saying = SplitSink<Connection, Message>;

/// What goes through the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The visitor's first.
    Request(Request),
    /// What it is answered by.
    Answer(Answer),
    /// For the session.
    Told(Told),
    /// From the session.
    Said(Said),
    /// The session's end, and the last message.
    Ended(End),
}

pub(super) fn connection(stream: UnixStream) -> Connection {
    Framed::new(stream, Codec(LengthDelimitedCodec::new()))
}

/// Frames as messages.
#[derive(Debug)]
pub struct Codec(LengthDelimitedCodec);

impl Encoder<Message> for Codec {
    type Error = io::Error;

    fn encode(&mut self, message: Message, to: &mut BytesMut) -> io::Result<()> {
        let (kind, bytes) = match message {
            Message::Request(request) => (b'q', json(&request)?),
            Message::Answer(answer) => (b'a', json(&answer)?),
            Message::Told(Told::Input(bytes)) => (b'i', bytes),
            Message::Told(Told::EndOfInput) => (b'e', vec![]),
            Message::Told(Told::Resized(size)) => (b's', json(&size)?),
            Message::Said(Said::Output(bytes)) => (b'o', bytes),
            Message::Said(Said::Errors(bytes)) => (b'r', bytes),
            Message::Ended(end) => (b'x', json(&end)?),
        };
        let mut frame = BytesMut::with_capacity(1 + bytes.len());
        frame.put_u8(kind);
        frame.put_slice(&bytes);
        self.0.encode(frame.freeze(), to)
    }
}

impl Decoder for Codec {
    type Item = Message;
    type Error = io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<Message>> {
        let Some(frame) = self.0.decode(from)? else { return Ok(None) };
        let frame: Bytes = frame.freeze();
        let Some((kind, bytes)) = frame.split_first() else { return Err(io::ErrorKind::InvalidData.into()) };
        Ok(Some(match kind {
            b'q' => Message::Request(from_json(bytes)?),
            b'a' => Message::Answer(from_json(bytes)?),
            b'i' => Message::Told(Told::Input(bytes.to_vec())),
            b'e' => Message::Told(Told::EndOfInput),
            b's' => Message::Told(Told::Resized(from_json(bytes)?)),
            b'o' => Message::Said(Said::Output(bytes.to_vec())),
            b'r' => Message::Said(Said::Errors(bytes.to_vec())),
            b'x' => Message::Ended(from_json(bytes)?),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of an unknown kind")),
        }))
    }
}

fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(bytes)?)
}
