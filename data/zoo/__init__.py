"""Training of the embedded zoo: tokenizer, candidates, reward model and cards. Not part of the library."""
