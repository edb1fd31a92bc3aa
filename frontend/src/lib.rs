//! belljar-frontend
