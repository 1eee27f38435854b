//! What a deploy has left out because another daemon still had it: started later, for the release that is active by then.

use super::Deploy;
use crate::daemon::Engine;
use crate::daemon::request::Naming;
use crate::process::StartReason;
use crate::release::Progress;

impl Engine {
    /// Starts the services and singletons that do not run.
    ///
    /// # Errors
    ///
    /// One did not start; the text says which, and why.
    pub(in crate::daemon) async fn start_exclusive(&self) -> Result<(), String> {
        let Some(release) = self.book().active() else {
            return Ok(());
        };
        let blueprint = release.blueprint();
        let naming = Naming {
            id: blueprint.key.id.clone(),
            revision: blueprint.revision.clone(),
        };
        let path = blueprint.path.clone();
        let mut deploy = Deploy::new(self, StartReason::Deploy, naming, path, None, Progress::default());
        deploy.ports = blueprint.ports.clone();
        deploy.path = blueprint.path.clone();
        deploy.release = Some(release.clone());
        let started = match deploy.start_standing_services().await {
            Ok(()) => deploy.replace_singletons().await,
            Err(failure) => Err(failure),
        };
        deploy.forget_note();
        started.map_err(|failure| failure.to_string())
    }
}
