//! belljar-server
