//! `hirewire map VENDOR FILE`: what the mapping makes of one file, without a broker and without state.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use hirewire_ingest::manifest::Manifest;
use hirewire_mapping::Input;
use hirewire_mapping::tool::{MetaValue, World, map_file};
use hirewire_schemas::{avro_schema, ids};
use hirewire_yaml::parse;

use crate::config::compile_plan;
use crate::out;
use crate::vendors::Vendors;

#[derive(Args)]
pub(crate) struct MapArguments {
    /// A vendor by name, or the path of a vendor's folder.
    vendor: String,
    /// A webhook's body, or with --stream a polled record, a response page or a detail answer.
    file: PathBuf,
    /// The stream that the file is of, e.g. `applications`.
    #[arg(long)]
    stream: Option<String>,
    /// A header that the delivery would have carried.
    #[arg(long = "header", value_name = "K=V", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// A parameter that the request would have carried.
    #[arg(long = "param", value_name = "K=V", value_parser = pair)]
    params: Vec<(String, String)>,
    /// A tenant's overlay.
    #[arg(long)]
    overlay: Option<PathBuf>,
    /// When the delivery would have been received, e.g. 2026-09-01T08:00:00Z; else when the file was written.
    #[arg(long, value_name = "TIME")]
    received: Option<jiff::Timestamp>,
    #[arg(long, default_value = "tenant")]
    tenant: String,
    #[arg(long, default_value = "connection")]
    connection: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl MapArguments {
    pub(crate) fn run(mut self, vendors: &Vendors) -> anyhow::Result<ExitCode> {
        let outside = vendors.outside(&self.vendor)?;
        let vendors = match &outside {
            None => vendors,
            Some((vendors, name)) => {
                self.vendor.clone_from(name);
                vendors
            }
        };
        let (file, text) = vendors.read(&self.vendor, "mapping.yaml")?;
        let mapping = parse(&file, &text)?;
        let overlay = match &self.overlay {
            None => None,
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
                Some(parse(&path.display().to_string(), &text)?)
            }
        };
        let plan = compile_plan(&mapping, overlay.as_ref())
            .map_err(|problems| anyhow::anyhow!("the mapping has {} mistakes:\n{problems}", problems.len()))?;
        let (file, text) = vendors.read(&self.vendor, "manifest.yaml")?;
        let manifest = Manifest::parse(&file, &text)?;
        let body = std::fs::read(&self.file).with_context(|| format!("{} cannot be read", self.file.display()))?;
        let event = match self.stream {
            Some(_) => None,
            None => Some(manifest.event_of(&self.headers, &body).with_context(|| {
                format!(
                    "{} is no webhook of {}: its event's name was not found; name the stream with --stream, or with \
                     --header the header that names the event",
                    self.file.display(),
                    self.vendor
                )
            })?),
        };
        // The delivery that this file would have been.
        let written = || -> anyhow::Result<i64> {
            let written = std::fs::metadata(&self.file)?.modified()?.duration_since(std::time::UNIX_EPOCH)?;
            Ok(i64::try_from(written.as_micros())?)
        };
        let received = self.received.map_or_else(written, |received| Ok(received.as_microsecond()))?;
        let provenance = if event.is_some() { "WEBHOOK" } else { "POLL" };
        let input = Input {
            body: &body,
            event: event.as_deref(),
            stream: self.stream.as_deref(),
            params: &self.params,
            headers: &self.headers,
            received_micros: Some(received),
        };
        let id = |connection: Option<&str>, record: &str, remote_id: &str| {
            let connection = connection.unwrap_or(&self.connection);
            ids::canonical_id(&self.tenant, connection, record, remote_id).to_string()
        };
        let key = |record: &str, remote_id: &str, owner: Option<(&str, &str)>| {
            ids::record_key(&self.tenant, &self.connection, record, remote_id, owner).to_string()
        };
        let meta = [
            ("provenance", MetaValue::Symbol(provenance.to_owned())),
            ("observed_at", MetaValue::Micros(received)),
            ("ingested_at", MetaValue::Micros(received)),
            ("tenant_id", MetaValue::Text(self.tenant.clone())),
            ("connection_id", MetaValue::Text(self.connection.clone())),
            ("source_system", MetaValue::Text(self.vendor.clone())),
        ];
        // The id of the first version that would be published: nothing was before it.
        let event_id = |field: &str, record: &str, remote_id: &str| {
            let id = || ids::state_event_id(&self.tenant, &self.connection, record, remote_id, 1).to_string();
            (field == "event_id").then(id)
        };
        let world = World { schema_of: &avro_schema, id: &id, key: &key, meta: &meta, meta_of: &event_id };
        let rows = self.stream.as_deref().and_then(|stream| manifest.rows_of(stream));
        let report = map_file(&plan, &input, rows.as_deref(), &world);
        for line in &report.lines {
            out::line(line);
        }
        if report.unknown {
            let name = event.as_deref().or(self.stream.as_deref()).unwrap_or_default();
            anyhow::bail!(
                "the mapping of {} has no rule for \"{name}\"; such a payload is kept raw and makes no record",
                self.vendor
            );
        }
        Ok(if report.dead_letters == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
