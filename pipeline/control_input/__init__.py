"""Control as it is delivered: the five forms, told apart by content, and the verdict table made of them."""
