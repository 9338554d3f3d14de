"""A front for an engine that serves a defended model with the OpenAI protocol. It forwards listed requests only."""
