"""`make demo`: what goes wrong in production, told in two minutes on real servers, and what comes of it."""
