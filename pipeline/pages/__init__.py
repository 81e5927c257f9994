"""The pages and pictures people read: evidence, board, maps."""
