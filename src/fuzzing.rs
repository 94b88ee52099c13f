//! What the fuzz targets in `fuzz/` need of the decoders. No part of the public API.

use byteorder::{ByteOrder, LittleEndian as LE};
use bytes::Bytes;

use crate::format::checkpoint::{self, Checkpoint};
use crate::format::control::Control;
use crate::format::frame::{self, FrameHeader};
use crate::format::index::Index;
use crate::format::segment_header::SegmentHeader;
use crate::format::{DATA_START, FRAME_HEADER_BYTES, RECORD_ENTRY_BYTES, SEGMENT_HEADER_BYTES};

/// The frame that `bytes` begin with, taken apart and put together again; `None` if there is none.
#[must_use]
pub fn frame(bytes: &[u8], salt: u32, position: u64) -> Option<Vec<u8>> {
    let seed = frame::seed(salt, position);
    let header = FrameHeader::peek(bytes, bytes.len() as u64).ok()?;
    header.verify(bytes, seed).ok()?;
    let (head, rest) = bytes.split_at_checked(header.head_bytes())?;
    let body = rest.get(..header.body_bytes as usize)?;
    let table = head.get(FRAME_HEADER_BYTES..)?;
    frame::verify_body(table, body).ok()?;
    let mut out = Vec::new();
    header.encode_moved(table, seed, &mut out);
    out.extend_from_slice(body);
    Some(out)
}

/// A segment's header, decoded and encoded again.
#[must_use]
pub fn segment_header(bytes: &[u8]) -> Option<Vec<u8>> {
    SegmentHeader::decode(bytes).ok().map(|header| header.encode().to_vec())
}

/// A checkpoint, decoded and encoded again.
#[must_use]
pub fn checkpoint(bytes: &[u8]) -> Option<Vec<u8>> {
    let read = Checkpoint::decode(&Bytes::copy_from_slice(bytes)).ok()?;
    for (stream, _) in read.streams.iter() {
        let _ = read.streams.find(&stream);
    }
    let segments: Vec<u64> = read.segments().collect();
    let mut controls = Vec::new();
    read.controls.iter().for_each(|control| control.encode_into(&mut controls));
    Some(checkpoint::encode(&read.head, &segments, read.streams.iter(), &controls))
}

/// Control records, decoded and encoded again.
#[must_use]
pub fn controls(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut again = Vec::new();
    Control::decode_all(bytes).ok()?.iter().for_each(|control| control.encode_into(&mut again));
    Some(again)
}

/// An index, decoded and every way of asking it tried; the positions it gave.
#[must_use]
pub fn index(bytes: &[u8]) -> Option<Vec<u64>> {
    let read = Index::decode(&Bytes::copy_from_slice(bytes)).ok()?;
    let mut positions = Vec::new();
    for delta in [0, 1, 1 << 16, u32::MAX] {
        let places = read.place_at(delta);
        positions.extend(places.map(|(place, _)| place.position()));
        positions.extend(places.and_then(|(_, next)| next).map(|next| next.position()));
    }
    for (stream, run) in read.runs() {
        let _ = read.run(&stream);
        let holding = run.frame_holding(run.first_log_offset).into_iter().chain(run.frame_holding(u64::MAX));
        positions
            .extend(holding.chain([run.len()]).filter_map(|k| run.frame(k)).map(|place| place.position()));
    }
    Some(positions)
}

/// Sets the checksum of an index or checkpoint to what its bytes ask for.
pub fn reseal_file(bytes: &mut [u8]) {
    if let Some((head, rest)) = bytes.split_at_mut_checked(16) {
        LE::write_u32(&mut head[12..], crc32fast::hash(rest));
    }
}

/// Sets the checksums of a segment, as far as its bytes have the shape of header and frames.
pub fn reseal_segment(bytes: &mut [u8]) {
    let Some(header) = bytes.get_mut(..SEGMENT_HEADER_BYTES) else { return };
    reseal_file(header);
    let salt = LE::read_u32(&header[56..60]);
    let mut position = DATA_START;
    while let Some(rest) = bytes.get_mut(position as usize..) {
        let Some(frame_bytes) = reseal_frame(rest, salt, position) else { return };
        position += frame_bytes;
    }
}

/// Sets the checksums of the frame that `bytes` begin with, and says how long it is.
pub fn reseal_frame(bytes: &mut [u8], salt: u32, position: u64) -> Option<u64> {
    let header = FrameHeader::peek(bytes, bytes.len() as u64).ok()?;
    let (head, body) = bytes.split_at_mut_checked(header.head_bytes())?;
    let mut rest: &[u8] = body;
    for entry in head.get_mut(FRAME_HEADER_BYTES..)?.chunks_exact_mut(RECORD_ENTRY_BYTES) {
        let (len, checksum) = entry.split_at_mut(4);
        let record = rest.split_off(..frame::padded(LE::read_u32(len) as usize).min(rest.len()))?;
        LE::write_u32(checksum, crc32fast::hash(record));
    }
    let (checksum, covered) = head.split_first_chunk_mut::<4>()?;
    let mut hasher = crc32fast::Hasher::new_with_initial(frame::seed(salt, position));
    hasher.update(covered);
    *checksum = hasher.finalize().to_le_bytes();
    Some(header.frame_bytes())
}
