"""The web door: pages rendered here, that work without a script and by keyboard."""
