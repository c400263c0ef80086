"""Loop passes: one file, one function, Module and Target to Module."""
