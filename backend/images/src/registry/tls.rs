//! Who a server has to prove to be: the machine's own list of authorities, or the one that is part of the executable.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

/// How long the list is used before it is read again: an authority that was added counts without a restart.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The authorities that are believed.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    /// Beside the machine's.
    further: Vec<CertificateDer<'static>>,
    read: Mutex<Option<(Instant, Arc<ClientConfig>)>>,
}

impl Authorities {
    pub(super) fn with(further: Vec<CertificateDer<'static>>) -> Self {
        Self { further, read: Mutex::default() }
    }

    /// What a connection is made with. Reads files, now and then.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, config)) = read.as_ref()
            && at.elapsed() < READ_AGAIN_AFTER
        {
            return Ok(config.clone());
        }
        let config = Arc::new(configured(roots(rustls_native_certs::load_native_certs().certs, &self.further))?);
        *read = Some((Instant::now(), config.clone()));
        Ok(config)
    }
}

/// The machine's list (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or where systems keep it); Mozilla's, where the machine has none, as in
/// an empty container image.
fn roots(machines: Vec<CertificateDer<'static>>, further: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(machines);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots.add_parsable_certificates(further.iter().cloned());
    roots
}

fn configured(roots: RootCertStore) -> Result<ClientConfig, Error> {
    // The provider is named here, so that nothing depends on one being installed for the whole process.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An authority that nobody else has, as DER.
    fn own() -> CertificateDer<'static> {
        let fake = belljar_testbed::fake::Fake::start_with_tls(&["registry.example"], |_| belljar_testbed::fake::Reply::status(200));
        fake.authority().expect("it speaks TLS").into()
    }

    #[test]
    fn a_machine_without_a_list_of_authorities_believes_mozillas_and_one_with_a_list_its_own_alone() {
        let bundled = webpki_roots::TLS_SERVER_ROOTS.len();
        assert!(bundled > 50);
        assert_eq!(roots(Vec::new(), &[]).len(), bundled);
        assert_eq!(roots(Vec::new(), &[own()]).len(), bundled + 1);
        assert_eq!(roots(vec![own()], &[]).len(), 1);
        assert_eq!(roots(vec![own(), CertificateDer::from(b"no certificate".to_vec())], &[own()]).len(), 2);
    }

    #[test]
    fn what_a_connection_is_made_with_is_made_once_for_a_while() {
        let authorities = Authorities::with(vec![own()]);
        let (first, second) = (authorities.config().expect("a configuration"), authorities.config().expect("a configuration"));
        assert!(Arc::ptr_eq(&first, &second));
    }
}
