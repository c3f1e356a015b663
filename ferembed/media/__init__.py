"""Photos, videos and cameras: find, read, follow, draw and write."""
