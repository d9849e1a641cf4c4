//! Parameters of the requests about volumes.

use crate::Filters;
use crate::query::{Query, QueryError, QueryWriter};

/// Parameters of `GET /volumes` and of `POST /volumes/prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumesQuery {
    /// Which volumes.
    pub filters: Filters,
}

impl VolumesQuery {
    /// Reads the parameters.
    ///
    /// # Errors
    /// The filters cannot be read.
    pub fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self {
            filters: Filters::parse(query.get("filters").unwrap_or_default())?,
        })
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        let filters = match self.filters.is_empty() {
            true => String::new(),
            false => self.filters.to_json(),
        };
        QueryWriter::new().text("filters", &filters).finish()
    }
}
