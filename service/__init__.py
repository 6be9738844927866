"""Online: FastAPI over Redis, one decision flow."""
