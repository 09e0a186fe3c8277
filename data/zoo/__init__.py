"""Rebuilds the embedded zoo from nothing: tokenizer, candidates, reward model and cards. Not part of the library."""
