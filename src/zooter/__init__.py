"""Train LLM routers by reward distillation and tag smoothing (ZOOTER, arXiv 2311.08692)."""

__version__ = "0.1.0"
