//! belljar-linux
