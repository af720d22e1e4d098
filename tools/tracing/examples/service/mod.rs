//! The service itself, which does not know where its events go.

use tracing::{info, info_span, warn};

/// Serves four requests.
pub fn serve() {
    for id in 0..4 {
        let _span = info_span!("request", id).entered();
        info!(target: "service", path = "/", "served");
        if id == 2 {
            warn!(target: "service", seconds = 3, "slow:\nwaited for the disk");
        }
    }
}
