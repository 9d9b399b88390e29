"""Files that are whole or not there: checksums, atomic replacement, locks."""
