//! Certificates for the stand-in: a root, an intermediate, and a server certificate. Each is RSA with 2,048 bits, as AWS's
//! are, so that a handshake costs the same. `openssl` creates them for each run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CipherSuite, ServerConfig};

use crate::Result;

const AMAZON_ROOTS: &str = include_str!("../../../../src/store/amazon_roots.pem");

/// The files with the system's roots: Debian's and Amazon Linux's.
const SYSTEM_ROOTS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

pub struct Certificates {
    directory: PathBuf,
    /// The stand-in's root.
    pub root: PathBuf,
    /// Amazon's five roots and the stand-in's, so that reading them costs as much as in production.
    pub amazon: PathBuf,
    /// The system's roots and the stand-in's.
    pub system: PathBuf,
    /// The number of roots in `system`.
    pub system_count: usize,
}

impl Certificates {
    pub fn create(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let at = |name: &str| directory.join(name);
        std::fs::write(at("authority.ext"), "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n")?;
        std::fs::write(
            at("server.ext"),
            "basicConstraints=critical,CA:false\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
        )?;
        for (name, issuer, extensions) in [
            ("root", None, "authority.ext"),
            ("intermediate", Some("root"), "authority.ext"),
            ("server", Some("intermediate"), "server.ext"),
        ] {
            let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
            let subject = format!("/CN=bench {name}");
            openssl(
                directory,
                &["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &request],
            )?;
            let issued = format!("{name}.pem");
            let mut sign = vec![
                "x509", "-req", "-sha256", "-days", "30", "-in", &request, "-out", &issued, "-extfile", extensions,
            ];
            let (issuer_key, issuer) =
                (format!("{}.key", issuer.unwrap_or(name)), issuer.map(|issuer| format!("{issuer}.pem")));
            match &issuer {
                None => sign.extend(["-signkey", &issuer_key]),
                Some(issuer) => sign.extend(["-CA", issuer, "-CAkey", &issuer_key, "-CAcreateserial"]),
            }
            openssl(directory, &sign)?;
        }
        let root = std::fs::read_to_string(at("root.pem"))?;
        let system = SYSTEM_ROOTS.iter().find_map(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        std::fs::write(at("amazon.pem"), format!("{AMAZON_ROOTS}\n{root}"))?;
        std::fs::write(at("system.pem"), format!("{system}\n{root}"))?;
        Ok(Self {
            root: at("root.pem"),
            amazon: at("amazon.pem"),
            system: at("system.pem"),
            system_count: system.matches("BEGIN CERTIFICATE").count() + 1,
            directory: directory.to_owned(),
        })
    }

    pub fn server(&self) -> Result<Arc<ServerConfig>> {
        let chain = ["server.pem", "intermediate.pem"]
            .map(|name| CertificateDer::from_pem_file(self.directory.join(name)))
            .into_iter()
            .collect::<std::result::Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(self.directory.join("server.key"))?;
        // AWS's endpoints prefer AES-128 with SHA-256 and ignore the client's preference.
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.ignore_client_order = true;
        Ok(Arc::new(config))
    }
}

/// The keys are of no use after the run.
impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn openssl(directory: &Path, arguments: &[&str]) -> Result<()> {
    let ran = Command::new("openssl").args(arguments).current_dir(directory).output()?;
    if ran.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ran.stderr).into()) }
}
