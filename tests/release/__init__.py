"""Whether this tree could be released: `make release-check`, each check with what to do where it fails."""
