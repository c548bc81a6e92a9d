"""What all families of models have in common: candidates, bundles, predictions, reports."""
