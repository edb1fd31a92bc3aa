//! belljar-api
