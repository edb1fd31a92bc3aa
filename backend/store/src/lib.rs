//! belljar-store
