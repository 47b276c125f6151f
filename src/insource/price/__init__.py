"""What a model costs to hold and to run. Pure: tables and arithmetic, nothing is asked or measured here."""
