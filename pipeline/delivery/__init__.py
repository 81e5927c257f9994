"""What makes an export whole, verified and answerable."""
