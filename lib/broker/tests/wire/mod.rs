//! One connection to a broker in Kafka's own bytes: requests out, one after the other, and their answers in.
#![allow(dead_code, unreachable_pub)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::running::Running;

pub struct Wire {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Wire {
    pub fn connect(broker: &Running) -> Self {
        Self { stream: TcpStream::connect(broker.address).unwrap(), correlation_id: 0 }
    }

    /// Also to a broker that may be away; an answer that takes longer than `patience` is none.
    pub fn try_connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self { stream, correlation_id: 0 })
    }

    pub fn encode(api: ApiKey, version: i16, correlation_id: i32, request: &RequestKind) -> BytesMut {
        let header = RequestHeader::default()
            .with_request_api_key(api as i16)
            .with_request_api_version(version)
            .with_correlation_id(correlation_id)
            .with_client_id(Some(text("wire")));
        let mut bytes = BytesMut::new();
        bytes.put_i32(0);
        header.encode(&mut bytes, api.request_header_version(version)).unwrap();
        request.encode(&mut bytes, version).unwrap();
        let size = i32::try_from(bytes.len() - 4).unwrap();
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        bytes
    }

    pub fn send(&mut self, api: ApiKey, version: i16, request: &RequestKind) -> io::Result<()> {
        self.correlation_id += 1;
        let bytes = Self::encode(api, version, self.correlation_id, request);
        self.stream.write_all(&bytes)
    }

    /// Nothing where the connection is closed instead.
    pub fn receive(&mut self) -> Option<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).ok()?;
        let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes.into())
    }

    /// Nothing where the connection is closed instead.
    pub fn try_ask(&mut self, api: ApiKey, version: i16, request: &RequestKind) -> Option<ResponseKind> {
        self.send(api, version, request).ok()?;
        let mut bytes = self.receive()?;
        let header = ResponseHeader::decode(&mut bytes, api.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        let response =
            ResponseKind::decode(api, &mut bytes, version).unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        assert!(bytes.is_empty(), "{api:?} {version}: bytes are left over");
        Some(response)
    }

    pub fn ask(&mut self, api: ApiKey, version: i16, request: &RequestKind) -> ResponseKind {
        let answer = self.try_ask(api, version, request);
        answer.unwrap_or_else(|| panic!("{api:?} {version}: the connection was closed"))
    }
}

pub fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}
