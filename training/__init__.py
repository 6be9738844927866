"""Offline jobs: split, train, evaluate, gate, publish, log to MLflow."""
