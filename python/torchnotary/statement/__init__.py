"""What a record says and the one encoding of each part: lines, envelope, container."""
