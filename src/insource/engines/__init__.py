"""Whatever turns a Request into a Prediction. Knows nothing of releases, policies or people."""
