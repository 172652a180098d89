//! One Parquet file: columns in, a file that is on the disk out; and many small ones made one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{BoolType, ByteArrayType, DataType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::TypePtr;

use super::columns::{Chunk, Values};

/// Records that are read at a time.
const RECORDS: usize = 8_192;

/// Writes the columns, in the order of the schema, as one row group. On the disk when it returns.
///
/// # Errors
/// What the disk or the library says.
pub(super) fn write(path: &Path, schema: &TypePtr, columns: impl Iterator<Item = Result<Values>>) -> io::Result<u64> {
    let file = File::create(path)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("hirewire ", env!("CARGO_PKG_VERSION")).to_owned());
    let written = (|| {
        let mut writer = SerializedFileWriter::new(&file, Arc::clone(schema), Arc::new(properties.build()))?;
        let mut group = writer.next_row_group()?;
        for values in columns {
            let values = values?;
            let missing = || ParquetError::General("a column more than the schema has".to_owned());
            write_column(group.next_column()?.ok_or_else(missing)?, &values)?;
        }
        group.close()?;
        writer.close()
    })();
    written.map_err(io::Error::other)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn write_column(mut column: SerializedColumnWriter<'_>, values: &Values) -> Result<()> {
    match values {
        Values::Texts(chunk) => write_chunk(column.typed::<ByteArrayType>(), chunk)?,
        Values::Longs(chunk) => write_chunk(column.typed::<Int64Type>(), chunk)?,
        Values::Flags(chunk) => write_chunk(column.typed::<BoolType>(), chunk)?,
    }
    column.close()
}

fn write_chunk<T: DataType>(column: &mut ColumnWriterImpl<'_, T>, chunk: &Chunk<T::T>) -> Result<()> {
    let repetition = (!chunk.repetition.is_empty()).then_some(chunk.repetition.as_slice());
    column.write_batch(&chunk.values, Some(&chunk.definition), repetition).map(drop)
}

/// Writes what is in all of `from`, in their order; a column at a time, so that no more of it is in memory. `None`: one
/// of them has another schema.
///
/// # Errors
/// What the disk or the library says.
pub(super) fn merge(from: &[PathBuf], into: &Path, schema: &TypePtr) -> io::Result<Option<u64>> {
    let mut files = Vec::new();
    for path in from {
        let reader = SerializedFileReader::new(File::open(path)?).map_err(io::Error::other)?;
        if reader.metadata().file_metadata().schema() != &**schema {
            return Ok(None);
        }
        files.push(reader);
    }
    let columns = files.first().map_or(0, |file| file.metadata().file_metadata().schema_descr().num_columns());
    write(into, schema, (0..columns).map(|index| read_column(&files, index))).map(Some)
}

fn read_column(files: &[SerializedFileReader<File>], index: usize) -> Result<Values> {
    let mut all: Option<Values> = None;
    for file in files {
        for group in 0..file.num_row_groups() {
            let reader = file.get_row_group(group)?.get_column_reader(index)?;
            match (reader, &mut all) {
                (ColumnReader::ByteArrayColumnReader(reader), all) => {
                    if let Values::Texts(chunk) = all.get_or_insert_with(|| Values::Texts(Chunk::default())) {
                        read_chunk(reader, chunk)?;
                    }
                }
                (ColumnReader::Int64ColumnReader(reader), all) => {
                    if let Values::Longs(chunk) = all.get_or_insert_with(|| Values::Longs(Chunk::default())) {
                        read_chunk(reader, chunk)?;
                    }
                }
                (ColumnReader::BoolColumnReader(reader), all) => {
                    if let Values::Flags(chunk) = all.get_or_insert_with(|| Values::Flags(Chunk::default())) {
                        read_chunk(reader, chunk)?;
                    }
                }
                _ => return Err(ParquetError::General("a column of a type that we do not write".to_owned())),
            }
        }
    }
    all.ok_or_else(|| ParquetError::General("a file without rows".to_owned()))
}

fn read_chunk<T: DataType>(mut column: ColumnReaderImpl<T>, chunk: &mut Chunk<T::T>) -> Result<()> {
    loop {
        let (definition, repetition) = (Some(&mut chunk.definition), Some(&mut chunk.repetition));
        let (records, _, _) = column.read_records(RECORDS, definition, repetition, &mut chunk.values)?;
        if records == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use parquet::data_type::ByteArray;

    use super::*;

    /// Of files whose first column is text.
    pub(in crate::files::parquet) fn first_column(paths: &[PathBuf]) -> Vec<ByteArray> {
        let open = |path: &PathBuf| SerializedFileReader::new(File::open(path).unwrap()).unwrap();
        match read_column(&paths.iter().map(open).collect::<Vec<_>>(), 0).unwrap() {
            Values::Texts(chunk) => chunk.values,
            other => panic!("{other:?}"),
        }
    }
}
