"""What several test modules share: small models, samples and data sets. A test module is never imported."""
