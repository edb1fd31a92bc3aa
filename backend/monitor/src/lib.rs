//! belljar-monitor
