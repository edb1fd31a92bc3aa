//! belljar-supervisor
