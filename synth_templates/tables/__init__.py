"""Tables: found in documents, aligned across them, and queried safely."""
