"""What is trained: each module here is one `Task`."""
