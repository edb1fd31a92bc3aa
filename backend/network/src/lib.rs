//! belljar-network
