//! Events of the networks that a run is connected to.

use std::collections::BTreeMap;

use crate::container::Container;
use crate::inner::Inner;
use crate::inspect::network_id;

impl Inner {
    /// Tells that a container was connected to its network, or disconnected. A container in
    /// another's network is connected to none.
    pub(crate) fn tell_network(&self, container: &Container, action: &str) {
        let name = container.definition.host.network_mode.as_str();
        let kind = match name {
            "bridge" | "host" => name,
            "none" => "null",
            _ => return,
        };
        let attributes = [
            ("container", container.id().to_string()),
            ("name", name.to_owned()),
            ("type", kind.to_owned()),
        ];
        let attributes: BTreeMap<_, _> = attributes
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        self.events
            .tell("network", action, &network_id(name), attributes);
    }
}
