//! The kinds of sinks, each with its settings.

use std::path::PathBuf;

use crate::database::postgres::PostgresSettings;
use crate::files::lines::LinesSettings;
use crate::files::parquet::TablesSettings;
use crate::http::HttpSettings;
use crate::mail::MailSettings;
use crate::topic::TopicSettings;

#[derive(Clone)]
pub(crate) enum Kind {
    Http(Box<HttpSettings>),
    Topic(TopicSettings),
    Mail(MailSettings),
    Lines(LinesSettings),
    Tables(TablesSettings),
    Postgres(PostgresSettings),
    Sqlite(PathBuf),
}

/// A kind of sinks, without its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KindName {
    Http,
    Topic,
    Mail,
    Lines,
    Tables,
    Postgres,
    Sqlite,
}

impl KindName {
    pub(crate) const ALL: [Self; 7] =
        [Self::Http, Self::Topic, Self::Mail, Self::Lines, Self::Tables, Self::Postgres, Self::Sqlite];

    /// Its key in a sink's settings.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Topic => "kafka",
            Self::Mail => "smtp",
            Self::Lines => "file",
            Self::Tables => "parquet",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

impl Kind {
    pub(crate) const fn name(&self) -> KindName {
        match self {
            Self::Http(_) => KindName::Http,
            Self::Topic(_) => KindName::Topic,
            Self::Mail(_) => KindName::Mail,
            Self::Lines(_) => KindName::Lines,
            Self::Tables(_) => KindName::Tables,
            Self::Postgres(_) => KindName::Postgres,
            Self::Sqlite(_) => KindName::Sqlite,
        }
    }

    /// Whether how far a partition is finished may be kept there too: then one consumer goes with one way out.
    pub(crate) fn may_take_heads(&self) -> bool {
        match self {
            Self::Topic(_) | Self::Lines(_) | Self::Tables(_) | Self::Postgres(_) | Self::Sqlite(_) => true,
            Self::Http(_) | Self::Mail(_) => false,
        }
    }
}
