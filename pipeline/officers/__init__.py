"""What officers are offered, what they answer, and how it is merged."""
