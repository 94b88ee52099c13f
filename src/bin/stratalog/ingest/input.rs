//! What records are read from: files and standard input, plain, gzip or zstd by their first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::failure::{CliError, Exit};

/// How standard input is named.
pub(crate) const STDIN: &str = "-";

const BUFFER_BYTES: usize = 256 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What follows the first byte, `0x50` to `0x5f`, of a frame that holds no data.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// An opened input; what it reads are the bytes that were compressed.
pub(crate) struct Input {
    /// As errors name it.
    pub(crate) name: Arc<str>,
    /// How it is compressed.
    pub(crate) form: &'static str,
    pub(crate) reader: Box<dyn BufRead + Send>,
}

/// Checks that there is something to open, before anything is made or changed. The bytes in it,
/// if it is a regular file.
pub(crate) fn check(name: &str) -> Result<Option<u64>, CliError> {
    if name == STDIN {
        return Ok(None);
    }
    let path = Path::new(name);
    let known = std::fs::metadata(path).map_err(|error| CliError::io("open", path, &error))?;
    if known.is_dir() {
        return Err(CliError::new(Exit::Failed, format!("{name} is a directory"))
            .help("name the files to be read; `-` is standard input"));
    }
    if !known.is_file() {
        return Ok(None);
    }
    // A pipe is opened once only, and then in earnest.
    File::open(path).map_err(|error| CliError::io("open", path, &error))?;
    Ok(Some(known.len()))
}

impl Input {
    /// Opens an input; `read_bytes` counts what is taken from it, compressed as it is.
    pub(crate) fn open(name: &str, read_bytes: Arc<AtomicU64>) -> Result<Input, CliError> {
        let raw: Box<dyn Read + Send> = if name == STDIN {
            Box::new(io::stdin())
        } else {
            let path = Path::new(name);
            Box::new(File::open(path).map_err(|error| CliError::io("open", path, &error))?)
        };
        let name: Arc<str> = if name == STDIN { "standard input".into() } else { name.into() };
        let raw = Counting { raw, read_bytes };
        let (form, reader) = decompressed(raw)
            .map_err(|error| CliError::new(Exit::Failed, format!("read {name}: {error}")))?;
        Ok(Input { name, form, reader })
    }
}

/// The bytes behind `raw`, whatever they are packed in.
fn decompressed(mut raw: impl Read + Send + 'static) -> io::Result<(&'static str, Box<dyn BufRead + Send>)> {
    let mut magic = Vec::with_capacity(4);
    raw.by_ref().take(4).read_to_end(&mut magic)?;
    let whole = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(magic.clone()).chain(raw));
    let skippable =
        magic.get(1..) == Some(&ZSTD_SKIPPABLE) && magic.first().is_some_and(|b| b & 0xf0 == 0x50);
    Ok(if magic.starts_with(&GZIP) {
        ("gzip", Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(whole))))
    } else if magic.starts_with(&ZSTD) || skippable {
        ("zstd", Box::new(BufReader::with_capacity(BUFFER_BYTES, Zstd { source: whole, frame: None })))
    } else {
        ("plain", Box::new(whole))
    })
}

type Whole<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// All frames of a zstd file, one behind the other, their checksums verified.
struct Zstd<R> {
    source: Whole<R>,
    /// The frame at hand.
    frame: Option<FrameDecoder>,
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(frame) = &mut self.frame else {
                if self.source.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.frame = begin(&mut self.source)?;
                continue;
            };
            while frame.can_collect() == 0 && !frame.is_finished() {
                let some = BlockDecodingStrategy::UptoBytes(buffer.len());
                frame.decode_blocks(&mut self.source, some).map_err(invalid)?;
            }
            let n = frame.read(buffer)?;
            if n > 0 {
                return Ok(n);
            }
            if let (Some(stored), Some(computed)) =
                (frame.get_checksum_from_data(), frame.get_calculated_checksum())
                && stored != computed
            {
                return Err(invalid(format!("expected checksum {stored:#010x}, found {computed:#010x}")));
            }
            self.frame = None;
        }
    }
}

/// The next frame of `source`; `None` if it held no data and was skipped.
fn begin(source: &mut (impl Read + ?Sized)) -> io::Result<Option<FrameDecoder>> {
    let mut frame = FrameDecoder::new();
    match frame.init(&mut *source) {
        Ok(()) => Ok(Some(frame)),
        Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
            let length = u64::from(length);
            match io::copy(&mut source.take(length), &mut io::sink())? {
                skipped if skipped < length => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(None),
            }
        }
        Err(error) => Err(invalid(error)),
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

struct Counting<R> {
    raw: R,
    read_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.raw.read(buffer)?;
        self.read_bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
