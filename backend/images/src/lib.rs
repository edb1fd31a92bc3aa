//! belljar-images
