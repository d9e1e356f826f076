//! Configuration: the typed key table, its sources and their precedence.
