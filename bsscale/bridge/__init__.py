"""Training scripts that are not bsscale's own: their curves from elsewhere."""
