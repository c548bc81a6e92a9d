"""The one training loop, and what every trained network needs around it."""
