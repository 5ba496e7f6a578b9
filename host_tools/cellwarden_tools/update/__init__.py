"""Signing keys, update images, and how they come onto a box."""
