"""Configuration, data and devices -> every derived number, once; which runs share a step."""
